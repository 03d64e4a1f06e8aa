with list_reports as (
    select list_id, reason, entries
    from {{ ref('list_reports') }}
),

min_audience_size as (
    select cast(value as integer) as min_audience_size
    from {{ ref('audience_policy') }}
    where setting = 'min_audience_size'
),

compared as (
    select
        list_reports.list_id,
        list_reports.reason,
        list_reports.entries,
        min_audience_size.min_audience_size,
        list_reports.entries < min_audience_size.min_audience_size as is_small,
        row_number() over (
            partition by list_reports.list_id, list_reports.entries < min_audience_size.min_audience_size
            order by list_reports.entries, list_reports.reason
        ) as size_rank,
        sum(case when list_reports.entries < min_audience_size.min_audience_size then list_reports.entries end)
            over (partition by list_reports.list_id) as small_entries
    from list_reports
    cross join min_audience_size
),

-- where the small rows together stay small, the next larger one goes with them
folded as (
    select
        list_id,
        entries,
        min_audience_size,
        case
            when is_small then 'withheld'
            when small_entries < min_audience_size and size_rank = 1 then 'withheld'
            else reason
        end as reason
    from compared
),

counted as (
    select
        list_id,
        reason,
        case when sum(entries) >= max(min_audience_size) then sum(entries) end as entries
    from folded
    group by list_id, reason
)

select
    list_id,
    reason,
    cast(entries as bigint) as entries
from counted
