with audience_eligibilities as (
    select list_id, advertiser_id, list_created_at
    from {{ ref('audience_eligibilities') }}
    where refused_status is null
),

audience_sizes as (
    select list_id, advertiser_id, members, content_digest, counted_members
    from {{ ref('audience_sizes') }}
),

audience_matches as (
    select list_id, advertiser_id, user_id
    from {{ ref('audience_matches') }}
),

audience_policy as (
    select setting, value
    from {{ ref('audience_policy') }}
),

settings as (
    select
        max(case when setting = 'min_audience_size' then cast(value as integer) end) as min_audience_size,
        max(case when setting = 'size_noise' then cast(value as integer) end) as size_noise,
        max(case when setting = 'size_rounding' then cast(value as integer) end) as size_rounding
    from audience_policy
    where setting in ('min_audience_size', 'size_noise', 'size_rounding')
),

-- of a list that is too small nothing is told, so nothing can be subtracted from it
large_audiences as (
    select
        audience_sizes.list_id,
        audience_sizes.advertiser_id,
        audience_eligibilities.list_created_at,
        audience_sizes.members,
        audience_sizes.content_digest
    from audience_sizes
    inner join audience_eligibilities
        on
            audience_sizes.list_id = audience_eligibilities.list_id
            and audience_sizes.advertiser_id = audience_eligibilities.advertiser_id
    cross join settings
    where audience_sizes.counted_members >= settings.min_audience_size
),

-- members are compared only where the sizes leave it open whether the difference is small
pairs as (
    select
        newer.list_id,
        newer.advertiser_id,
        older.list_id as older_list_id,
        newer.members,
        older.members as older_members,
        newer.content_digest,
        older.content_digest as older_content_digest
    from large_audiences as newer
    inner join large_audiences as older
        on
            newer.advertiser_id = older.advertiser_id
            and (newer.list_created_at, newer.list_id) > (older.list_created_at, older.list_id)
    cross join settings
    where
        not coalesce(
            abs(newer.members - older.members)
            >= settings.min_audience_size + settings.size_noise + settings.size_rounding,
            false
        )
),

-- the same content needs no comparison, however often it was uploaded
unequal_pairs as (
    select list_id, advertiser_id, older_list_id
    from pairs
    where content_digest <> older_content_digest
),

compared_lists as (
    select list_id, advertiser_id
    from unequal_pairs

    union

    select older_list_id as list_id, advertiser_id
    from unequal_pairs
),

compared_members as (
    select distinct audience_matches.list_id, audience_matches.advertiser_id, audience_matches.user_id
    from audience_matches
    inner join compared_lists
        on
            audience_matches.list_id = compared_lists.list_id
            and audience_matches.advertiser_id = compared_lists.advertiser_id
),

shared_members as (
    select
        unequal_pairs.list_id,
        unequal_pairs.advertiser_id,
        unequal_pairs.older_list_id,
        count(*) as members
    from unequal_pairs
    inner join compared_members as newer_members
        on
            unequal_pairs.list_id = newer_members.list_id
            and unequal_pairs.advertiser_id = newer_members.advertiser_id
    inner join compared_members as older_members
        on
            unequal_pairs.older_list_id = older_members.list_id
            and unequal_pairs.advertiser_id = older_members.advertiser_id
            and newer_members.user_id = older_members.user_id
    group by unequal_pairs.list_id, unequal_pairs.advertiser_id, unequal_pairs.older_list_id
),

-- who is in one of the two lists alone, on either side: to ask each side for the minimum, too, would
-- cost an honest advertiser many lists and one with accounts of its own nothing
measured_pairs as (
    select
        pairs.list_id,
        pairs.advertiser_id,
        pairs.older_list_id,
        least(pairs.content_digest, pairs.older_content_digest) as lesser_digest,
        greatest(pairs.content_digest, pairs.older_content_digest) as greater_digest,
        case
            when pairs.content_digest = pairs.older_content_digest then 0
            else pairs.members + pairs.older_members - 2 * coalesce(shared_members.members, 0)
        end as differing_members
    from pairs
    left join shared_members
        on
            pairs.list_id = shared_members.list_id
            and pairs.advertiser_id = shared_members.advertiser_id
            and pairs.older_list_id = shared_members.older_list_id
),

-- A difference of nobody is small as well: were equal lists let through, a list with one more person
-- would be withheld exactly when that person is a member. And one of the minimum and more is counted with
-- noise, fixed per pair of contents: an exact edge would tell the last person of a difference padded up to it
noised_pairs as (
    select
        measured_pairs.list_id,
        measured_pairs.advertiser_id,
        measured_pairs.differing_members,
        case
            when measured_pairs.differing_members >= settings.min_audience_size
                then {{ keyed_noise(
                    "'difference ' || measured_pairs.lesser_digest || ' ' || measured_pairs.greater_digest",
                    "settings.size_noise", "settings.size_rounding"
                ) }}
        end as noise
    from measured_pairs
    cross join settings
),

nearest as (
    select list_id, advertiser_id, min(differing_members - coalesce(noise, 0)) as counted_differing_members
    from noised_pairs
    group by list_id, advertiser_id
),

-- one row per audience that was compared: an audience without a row was not
judged as (
    select
        large_audiences.list_id,
        large_audiences.advertiser_id,
        nearest.counted_differing_members is null
        or nearest.counted_differing_members >= settings.min_audience_size as is_far_from_older
    from large_audiences
    cross join settings
    left join nearest
        on
            large_audiences.list_id = nearest.list_id
            and large_audiences.advertiser_id = nearest.advertiser_id
)

select * from judged
