with audience_eligibilities as (
    select list_id, advertiser_id, list_created_at
    from {{ ref('audience_eligibilities') }}
    where refused_status is null
),

audience_sizes as (
    select list_id, advertiser_id, members, content_digest, counted_members, is_noised
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

-- With noise nobody may know of any size on which side of the minimum it is, so lists of all sizes are
-- compared: were those that are too small left out, each of many near copies would draw its own noise, and
-- tell more with every copy. Without noise a list that is too small is known to be, and nothing is told of it
compared_audiences as (
    select
        audience_sizes.list_id,
        audience_sizes.advertiser_id,
        audience_sizes.members,
        audience_sizes.content_digest,
        coalesce(audience_sizes.counted_members >= settings.min_audience_size, false) as is_large,
        -- sizes this far apart are a difference that no noise makes small
        settings.min_audience_size + settings.size_noise + settings.size_rounding as far_enough,
        row_number() over (
            order by
                audience_sizes.advertiser_id, audience_eligibilities.list_created_at, audience_sizes.list_id
        ) as age_position
    from audience_sizes
    inner join audience_eligibilities
        on
            audience_sizes.list_id = audience_eligibilities.list_id
            and audience_sizes.advertiser_id = audience_eligibilities.advertiser_id
    cross join settings
    where audience_sizes.is_noised or audience_sizes.counted_members >= settings.min_audience_size
),

-- members are compared only where the sizes leave it open whether the difference is small
pairs as (
    select
        newer.age_position,
        older.age_position as older_position,
        newer.members,
        older.members as older_members,
        newer.content_digest,
        older.content_digest as older_content_digest
    from compared_audiences as newer
    inner join compared_audiences as older
        on
            newer.advertiser_id = older.advertiser_id
            and newer.age_position > older.age_position
            and not coalesce(abs(newer.members - older.members) >= newer.far_enough, false)
),

-- the same content needs no comparison, however often it was uploaded
unequal_pairs as (
    select age_position, older_position
    from pairs
    where content_digest <> older_content_digest
),

paired_positions as (
    select age_position from unequal_pairs

    union

    select older_position as age_position from unequal_pairs
),

paired_members as (
    select distinct
        compared_audiences.age_position,
        compared_audiences.members,
        compared_audiences.far_enough,
        audience_matches.advertiser_id,
        audience_matches.user_id
    from audience_matches
    inner join compared_audiences
        on
            audience_matches.list_id = compared_audiences.list_id
            and audience_matches.advertiser_id = compared_audiences.advertiser_id
    inner join paired_positions
        on compared_audiences.age_position = paired_positions.age_position
),

member_lists as (
    select advertiser_id, user_id, {{ order_free_digest('cast(age_position as varchar)') }} as lists_digest
    from paired_members
    group by advertiser_id, user_id
),

-- of those who stand in the very same lists one is followed for all: near copies are mostly the same people
representatives as (
    select advertiser_id, min(user_id) as user_id, count(*) as members
    from member_lists
    group by advertiser_id, lists_digest
),

-- by who is in both, so that lists that share nobody cost nothing
shared_members as (
    select
        newer.age_position,
        older.age_position as older_position,
        cast(sum(representatives.members) as bigint) as members
    from representatives
    inner join paired_members as newer
        on representatives.advertiser_id = newer.advertiser_id and representatives.user_id = newer.user_id
    inner join paired_members as older
        on
            newer.advertiser_id = older.advertiser_id
            and newer.user_id = older.user_id
            and newer.age_position > older.age_position
            and not coalesce(abs(newer.members - older.members) >= newer.far_enough, false)
    group by newer.age_position, older.age_position
),

-- Who is in one of the two lists alone, on either side: to ask each side for the minimum, too, would
-- cost an honest advertiser many lists and one with accounts of its own nothing. A difference of nobody is
-- small as well: were equal lists let through, a list with one more person would be withheld exactly when
-- that person is a member
measured_pairs as (
    select
        pairs.age_position,
        pairs.older_content_digest,
        case
            when pairs.content_digest = pairs.older_content_digest then 0
            else pairs.members + pairs.older_members - 2 * coalesce(shared_members.members, 0)
        end as differing_members
    from pairs
    left join shared_members
        on
            pairs.age_position = shared_members.age_position
            and pairs.older_position = shared_members.older_position
),

nearest as (
    select
        age_position,
        min(differing_members) as differing_members,
        {{ order_free_digest('older_content_digest') }} as older_digest
    from measured_pairs
    group by age_position
),

-- A difference of the minimum and more is counted with noise: an exact edge would tell the last person of
-- one padded up to it. It is one draw per list, fixed by its content and those that it is compared with:
-- the least of many draws, one per older list, would be as sharp an edge again
noised as (
    select
        compared_audiences.list_id,
        compared_audiences.advertiser_id,
        compared_audiences.age_position,
        compared_audiences.is_large,
        nearest.differing_members,
        case
            when nearest.differing_members >= settings.min_audience_size
                then {{ keyed_noise(
                    "'difference ' || compared_audiences.content_digest || ' ' || nearest.older_digest",
                    "settings.size_noise", "settings.size_rounding"
                ) }}
        end as noise
    from compared_audiences
    cross join settings
    left join nearest
        on compared_audiences.age_position = nearest.age_position
),

-- one row per audience that was compared: an audience without a row was not
judged as (
    select
        noised.list_id,
        noised.advertiser_id,
        noised.age_position,
        noised.is_large,
        noised.differing_members is null
        or noised.differing_members - coalesce(noised.noise, 0) >= settings.min_audience_size as is_far_from_older
    from noised
    cross join settings
),

-- what a list that is near an older one may be called is known without it: whether some older list serves
labelled as (
    select
        list_id,
        advertiser_id,
        is_far_from_older,
        coalesce(
            bool_or(is_large and is_far_from_older) over (
                partition by advertiser_id
                order by age_position asc
                rows between unbounded preceding and 1 preceding
            ),
            false
        ) as has_older_serving
    from judged
)

select * from labelled
