with list_reports as (
    select list_id, reason, entries
    from {{ ref('list_reports') }}
),

serving_lists as (
    select distinct list_id
    from {{ ref('audiences') }}
    where list_status = 'serving'
),

min_audience_size as (
    select cast(value as integer) as min_audience_size
    from {{ ref('audience_policy') }}
    where setting = 'min_audience_size'
),

size_rounding as (
    select cast(value as integer) as size_rounding
    from {{ ref('audience_policy') }}
    where setting = 'size_rounding'
),

-- matched is rounded down as sizes are, or it would undo the rounding of the size beside it. What the
-- rounding takes away counts as not_matched: were both rounded, the gap to the uploaded rows would tell
-- how much it took
split as (
    select
        list_reports.list_id,
        list_reports.reason,
        case
            when list_reports.reason = 'matched'
                then list_reports.entries - list_reports.entries % size_rounding.size_rounding
            else list_reports.entries
        end as entries
    from list_reports
    cross join size_rounding

    union all

    select
        list_reports.list_id,
        'not_matched' as reason,
        list_reports.entries % size_rounding.size_rounding as entries
    from list_reports
    cross join size_rounding
    where list_reports.reason = 'matched'
),

rounded as (
    select
        list_id,
        reason,
        reason in ('matched', 'not_matched') as is_about_people,
        sum(entries) as entries
    from split
    group by list_id, reason
),

-- the uploader knows how many rows matched and not_matched are together, so that each tells the other:
-- where either is few, both are withheld
compared as (
    select
        rounded.list_id,
        rounded.reason,
        rounded.entries,
        min_audience_size.min_audience_size,
        rounded.entries < min_audience_size.min_audience_size
        or rounded.is_about_people and (
            serving_lists.list_id is null
            or min(rounded.entries) over (partition by rounded.list_id, rounded.is_about_people)
            < min_audience_size.min_audience_size
        ) as is_small
    from rounded
    cross join min_audience_size
    left join serving_lists
        on rounded.list_id = serving_lists.list_id
),

{{ fold_small_rows('compared', 'list_id', 'reason', 'entries') }},

counted as (
    select
        list_id,
        published_label as reason,
        case when sum(entries) >= max(min_audience_size) then sum(entries) end as entries
    from folded
    group by list_id, published_label
)

select
    list_id,
    reason,
    cast(entries as bigint) as entries
from counted
