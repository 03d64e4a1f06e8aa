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

-- most reasons are about the uploader's own rows; these two are about people, whom a list that does not
-- serve says nothing about
compared as (
    select
        list_reports.list_id,
        list_reports.reason,
        list_reports.entries,
        min_audience_size.min_audience_size,
        list_reports.entries < min_audience_size.min_audience_size
        or list_reports.reason in ('matched', 'not_matched') and serving_lists.list_id is null as is_small
    from list_reports
    cross join min_audience_size
    left join serving_lists
        on list_reports.list_id = serving_lists.list_id
),

{{ fold_small_rows('compared', 'list_id', 'reason', 'entries') }},

counted as (
    select
        list_id,
        published_label as reason,
        case when sum(entries) >= max(min_audience_size) then sum(entries) end as entries
    from folded
    group by list_id, published_label
),

-- rounded as sizes are, or the exact matches would undo the rounding of the size beside them
rounded as (
    select
        counted.list_id,
        counted.reason,
        case
            when counted.reason in ('matched', 'not_matched', 'withheld')
                then counted.entries - counted.entries % size_rounding.size_rounding
            else counted.entries
        end as entries
    from counted
    cross join size_rounding
)

select
    list_id,
    reason,
    cast(entries as bigint) as entries
from rounded
