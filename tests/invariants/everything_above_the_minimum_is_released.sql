-- Twin of nothing_released_below_the_minimum: a returned row is an audience with enough members that is
-- not serving, delivers fewer than it has, or reports a size that is not its own, rounded down.

with settings as (
    select
        max(case when setting = 'min_audience_size' then cast(value as integer) end) as min_audience_size,
        max(case when setting = 'size_rounding' then cast(value as integer) end) as size_rounding
    from {{ ref('audience_policy') }}
    where setting in ('min_audience_size', 'size_rounding')
),

sizes as (
    select list_id, advertiser_id, count(distinct user_id) as size
    from {{ ref('member_explanations') }}
    group by list_id, advertiser_id
),

delivered as (
    select list_id, advertiser_id, user_id from {{ ref('release_tailored_audience_members') }}

    union all

    select list_id, advertiser_id, user_id from {{ ref('release_partner_audience_members') }}
),

delivered_sizes as (
    select list_id, advertiser_id, count(*) as size
    from delivered
    group by list_id, advertiser_id
)

select sizes.list_id, sizes.advertiser_id
from sizes
cross join settings
left join {{ ref('release_audiences') }} as audiences
    on sizes.list_id = audiences.list_id and sizes.advertiser_id = audiences.advertiser_id
left join delivered_sizes
    on sizes.list_id = delivered_sizes.list_id and sizes.advertiser_id = delivered_sizes.advertiser_id
where
    sizes.size >= settings.min_audience_size
    and not coalesce(
        audiences.list_status = 'serving'
        and delivered_sizes.size = sizes.size
        and audiences.reported_size = sizes.size - mod(sizes.size, settings.size_rounding)
        and audiences.match_rate_band is not null,
        false
    )

union all

-- a reason with enough rows stands in the report, but for the one that goes along with small ones
select marts.list_id, marts.reason as advertiser_id
from {{ ref('list_reports') }} as marts
cross join settings
left join {{ ref('release_list_reports') }} as reports
    on marts.list_id = reports.list_id and marts.reason = reports.reason
where
    marts.entries >= settings.min_audience_size
    and (
        reports.list_id is null
        and not exists (
            select 1 from {{ ref('release_list_reports') }} as withheld
            where withheld.list_id = marts.list_id and withheld.reason = 'withheld'
        )
        or reports.entries > marts.entries
        or marts.reason not in ('matched', 'not_matched') and reports.entries <> marts.entries
        or reports.entries <= marts.entries - settings.size_rounding
    )
