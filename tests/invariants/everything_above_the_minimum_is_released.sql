-- Twin of nothing_released_below_the_minimum: a returned row is an audience with more members than the
-- noise can take below the minimum that neither serves nor is hardly different from an older one and called
-- so; one that serves and delivers fewer members than it has; one that reports a size which neither its
-- members, noise and rounding nor the last build explain, or none although others do; or a report or funnel
-- that leaves out more of what is enough than the one row that may go along with small ones, or shows other
-- figures than size and mart.

with thresholds as (
    select
        max(case when setting = 'min_audience_size' then cast(value as integer) end) as min_audience_size,
        max(case when setting = 'size_rounding' then cast(value as integer) end) as size_rounding,
        max(case when setting = 'size_noise' then cast(value as integer) end) as size_noise,
        max(case when setting = 'min_size_change' then cast(value as integer) end) as min_size_change
    from {{ ref('audience_policy') }}
    where setting in ('min_audience_size', 'size_rounding', 'size_noise', 'min_size_change')
),

settings as (
    select *, size_noise + size_rounding - 2 as most_noise
    from thresholds
),

{{ rederived_differences() }},

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

-- without noise a difference from an audience of which nothing may be told is none
differences_from_told as (
    select differences.list_id, differences.advertiser_id, min(differences.differing_members) as differing_members
    from rederived_differences as differences
    inner join {{ ref('release_audiences') }} as older
        on differences.older_list_id = older.list_id and differences.advertiser_id = older.advertiser_id
    cross join noise
    where noise.has_noise or older.list_status in ('serving', 'withheld_differencing')
    group by differences.list_id, differences.advertiser_id
),

-- what a size may be above or below its members, beside noise and rounding: nothing, unless it was kept
-- from the last build because a fresh one would have changed by less than the minimum change
reported_sizes as (
    select audiences.list_id, audiences.advertiser_id, audiences.reported_size,
        case when previous.list_id is null then 0 else settings.min_size_change - 1 end as kept_change
    from {{ ref('release_audiences') }} as audiences
    cross join settings
    left join {{ previous_state('published_sizes') }} as previous
        on
            audiences.list_id = previous.list_id
            and audiences.advertiser_id = previous.advertiser_id
            and audiences.reported_size = previous.reported_size
    where audiences.reported_size is not null
),

largest_sizes as (
    select list_id, max(reported_size) as reported_size
    from reported_sizes
    group by list_id
),

-- matched as the largest size of the list tells it, and the rest
people_rows as (
    select marts.list_id, max(largest_sizes.reported_size) as matched,
        sum(marts.entries) - max(largest_sizes.reported_size) as not_matched
    from {{ ref('list_reports') }} as marts
    inner join largest_sizes
        on marts.list_id = largest_sizes.list_id
    where marts.reason in ('matched', 'not_matched')
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

select 'audiences' as relation, sizes.list_id || ' ' || sizes.advertiser_id || ' is left out' as row_key
from sizes
cross join settings
cross join noise
left join {{ ref('release_audiences') }} as audiences
    on sizes.list_id = audiences.list_id and sizes.advertiser_id = audiences.advertiser_id
left join delivered_sizes
    on sizes.list_id = delivered_sizes.list_id and sizes.advertiser_id = delivered_sizes.advertiser_id
left join differences_from_told as differences
    on sizes.list_id = differences.list_id and sizes.advertiser_id = differences.advertiser_id
left join lists_behind_serving
    on sizes.list_id = lists_behind_serving.list_id and sizes.advertiser_id = lists_behind_serving.advertiser_id
where
    (sizes.size >= settings.min_audience_size + settings.most_noise or audiences.list_status <> 'too_small')
    and not coalesce(
        audiences.list_status = 'serving' and delivered_sizes.size = sizes.size
        or audiences.list_status = case
            when noise.has_noise and lists_behind_serving.list_id is null then 'too_small'
            else 'withheld_differencing'
        end
        and differences.differing_members < settings.min_audience_size + settings.most_noise,
        false
    )

union all

select 'audiences' as relation, reported.list_id || ' ' || reported.advertiser_id || ' reports another size' as row_key
from reported_sizes as reported
cross join settings
left join sizes
    on reported.list_id = sizes.list_id and reported.advertiser_id = sizes.advertiser_id
where
    not coalesce(
        reported.reported_size <= sizes.size + reported.kept_change
        and reported.reported_size + settings.most_noise + settings.size_rounding - 1
        >= sizes.size - reported.kept_change,
        false
    )

union all

select 'audiences' as relation, audiences.list_id || ' ' || audiences.advertiser_id || ' has no size' as row_key
from {{ ref('release_audiences') }} as audiences
where
    audiences.list_status = 'serving'
    and audiences.reported_size is null
    and exists (
        select 1 from reported_sizes
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
