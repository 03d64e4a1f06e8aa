-- Twin of nothing_released_below_the_minimum: a returned row is an audience with enough members that is
-- not serving, delivers fewer than it has, or reports a size that is not its own, rounded down; or a report
-- or funnel that leaves out more of what is enough than the one row that may go along with small ones, or
-- a report that shows other figures than its mart's.

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
),

-- matched as it is shown, rounded down, and the rest; only of lists with enough members delivered
people_rows as (
    select
        marts.list_id,
        sum(case when marts.reason = 'matched' then marts.entries - mod(marts.entries, settings.size_rounding) end)
            as matched,
        sum(
            case when marts.reason = 'matched' then mod(marts.entries, settings.size_rounding) else marts.entries end
        ) as not_matched
    from {{ ref('list_reports') }} as marts
    cross join settings
    where
        marts.reason in ('matched', 'not_matched')
        and exists (
            select 1 from delivered_sizes
            where delivered_sizes.list_id = marts.list_id and delivered_sizes.size >= settings.min_audience_size
        )
    group by marts.list_id
),

people_rows_due as (
    select people_rows.*
    from people_rows
    cross join settings
    where
        people_rows.matched >= settings.min_audience_size
        and people_rows.not_matched >= settings.min_audience_size
),

due as (
    select marts.list_id, marts.reason, marts.entries
    from {{ ref('list_reports') }} as marts
    cross join settings
    where marts.reason not in ('matched', 'not_matched') and marts.entries >= settings.min_audience_size

    union all

    select list_id, 'matched' as reason, matched as entries from people_rows_due

    union all

    select list_id, 'not_matched' as reason, not_matched as entries from people_rows_due
)

select 'audiences' as relation, sizes.list_id || ' ' || sizes.advertiser_id as row_key
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

select 'list_reports' as relation, due.list_id || ' leaves out what is enough' as row_key
from due
where not exists (
    select 1 from {{ ref('release_list_reports') }} as reports
    where reports.list_id = due.list_id and reports.reason = due.reason and reports.entries = due.entries
)
group by due.list_id
having count(*) > 1

union all

select 'list_reports' as relation, reports.list_id || ' ' || reports.reason || ' is not its own' as row_key
from {{ ref('release_list_reports') }} as reports
where
    reports.reason <> 'withheld'
    and not exists (
        select 1 from due
        where due.list_id = reports.list_id and due.reason = reports.reason and due.entries = reports.entries
    )

union all

select 'consent_funnel' as relation, marts.data_use || ' ' || marts.channel || ' leaves out what is enough' as row_key
from {{ ref('consent_funnel') }} as marts
cross join settings
where
    marts.users >= settings.min_audience_size
    and not exists (
        select 1 from {{ ref('release_consent_funnel') }} as released
        where
            released.data_use = marts.data_use
            and released.channel = marts.channel
            and released.decision = marts.decision
            and released.contacts = marts.contacts
            and released.users = marts.users
    )
group by marts.data_use, marts.channel
having count(*) > 1
