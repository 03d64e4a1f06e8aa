-- A returned row is an audience, a report row or a step of the funnel that is about to be published
-- although fewer people or rows than the minimum stand behind it, or one that is not serving.

with min_audience_size as (
    select cast(value as integer) as min_audience_size
    from {{ ref('audience_policy') }}
    where setting = 'min_audience_size'
),

members as (
    select list_id, advertiser_id, user_id from {{ ref('release_tailored_audience_members') }}

    union all

    select list_id, advertiser_id, user_id from {{ ref('release_partner_audience_members') }}
),

sizes as (
    select list_id, advertiser_id, count(distinct user_id) as size
    from members
    group by list_id, advertiser_id
),

released as (
    select 'members' as relation, list_id || ' ' || advertiser_id as row_key, size from sizes

    union all

    select 'audiences' as relation, audiences.list_id || ' ' || audiences.advertiser_id as row_key,
        coalesce(sizes.size, 0) as size
    from {{ ref('release_audiences') }} as audiences
    left join sizes
        on audiences.list_id = sizes.list_id and audiences.advertiser_id = sizes.advertiser_id
    where audiences.reported_size is not null or audiences.match_rate_band is not null

    union all

    select 'list_reports' as relation, list_id || ' ' || reason as row_key, entries as size
    from {{ ref('release_list_reports') }}
    where entries is not null

    union all

    select 'consent_funnel' as relation, data_use || ' ' || channel || ' ' || decision as row_key, users as size
    from {{ ref('release_consent_funnel') }}
    where users is not null or contacts is not null
)

select released.relation, released.row_key
from released
cross join min_audience_size
where coalesce(released.size < min_audience_size.min_audience_size, true)
