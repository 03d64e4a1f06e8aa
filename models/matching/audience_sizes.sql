with members as (
    select distinct list_id, advertiser_id, user_id
    from {{ ref('audience_matches') }}
),

audience_policy as (
    select setting, value
    from {{ ref('audience_policy') }}
),

settings as (
    select
        max(case when setting = 'size_noise' then cast(value as integer) end) as size_noise,
        max(case when setting = 'size_rounding' then cast(value as integer) end) as size_rounding
    from audience_policy
    where setting in ('size_noise', 'size_rounding')
),

contents as (
    select
        list_id,
        advertiser_id,
        count(*) as members,
        {{ order_free_digest('user_id') }} as content_digest
    from members
    group by list_id, advertiser_id
),

-- fixed per content, whoever uploads it and as which list: were the list or the advertiser part of the
-- hash, the same content under many names would show many draws, and their mean the size
drawn as (
    select
        contents.list_id,
        contents.advertiser_id,
        contents.members,
        contents.content_digest,
        {{ keyed_noise("'size ' || contents.content_digest", "settings.size_noise", "settings.size_rounding") }}
            as noise
    from contents
    cross join settings
),

-- the noise only takes away, so that no list is counted as more people than it has. Without a key the
-- size is counted as it is, for the thresholds alone: it is not noised and must not be told
counted as (
    select
        list_id,
        advertiser_id,
        members,
        content_digest,
        members - coalesce(noise, 0) as counted_members,
        noise is not null as is_noised
    from drawn
)

select * from counted
