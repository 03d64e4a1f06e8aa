-- A returned row is an audience, a report row or a step of the funnel that is about to be published
-- although fewer people or rows than the minimum stand behind it, or one that is not serving.

with settings as (
    select
        max(case when setting = 'min_audience_size' then cast(value as integer) end) as min_audience_size,
        max(case when setting = 'size_rounding' then cast(value as integer) end) as size_rounding
    from {{ ref('audience_policy') }}
    where setting in ('min_audience_size', 'size_rounding')
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

people as (
    select list_id, max(size) as size
    from sizes
    group by list_id
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
    where entries is not null and reason not in ('matched', 'not_matched', 'withheld')

    union all

    -- behind these stand people of a serving list, in rounded figures
    select 'list_reports' as relation, reports.list_id || ' ' || reports.reason as row_key,
        case when mod(reports.entries, settings.size_rounding) = 0 then people.size end as size
    from {{ ref('release_list_reports') }} as reports
    cross join settings
    left join people
        on reports.list_id = people.list_id
    where reports.reason in ('matched', 'not_matched')

    union all

    -- behind withheld stand the rows whose reason is not released
    select 'list_reports' as relation, reports.list_id || ' withheld' as row_key,
        case when mod(max(reports.entries), max(settings.size_rounding)) = 0 then sum(marts.entries) end as size
    from {{ ref('release_list_reports') }} as reports
    cross join settings
    inner join {{ ref('list_reports') }} as marts
        on reports.list_id = marts.list_id
    where
        reports.reason = 'withheld'
        and reports.entries is not null
        and not exists (
            select 1 from {{ ref('release_list_reports') }} as released_reports
            where released_reports.list_id = marts.list_id and released_reports.reason = marts.reason
        )
    group by reports.list_id

    union all

    select 'consent_funnel' as relation, data_use || ' ' || channel || ' ' || decision as row_key, users as size
    from {{ ref('release_consent_funnel') }}
    where users is not null or contacts is not null
)

select released.relation, released.row_key
from released
cross join settings
where coalesce(released.size < settings.min_audience_size, true)
