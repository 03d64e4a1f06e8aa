with list_reports as (
    select list_id, reason, entries
    from {{ ref('list_reports') }}
),

min_audience_size as (
    select cast(value as integer) as min_audience_size
    from {{ ref('audience_policy') }}
    where setting = 'min_audience_size'
),

-- a list may serve several advertisers, and each of their sizes is published
published_sizes as (
    select list_id, max(reported_size) as reported_size
    from {{ ref('audiences') }}
    where reported_size is not null
    group by list_id
),

matchable as (
    select list_id, sum(entries) as entries
    from list_reports
    where reason in ('matched', 'not_matched')
    group by list_id
),

-- What is told of how many rows matched is what the published size tells already. A figure of its own
-- would need noise of its own, and would show beside the size which rows are the same person
estimated as (
    select
        matchable.list_id,
        least(published_sizes.reported_size, matchable.entries) as matched_entries,
        matchable.entries
    from matchable
    left join published_sizes
        on matchable.list_id = published_sizes.list_id
),

-- where there is no size, both stand as not matched until they are withheld together
split as (
    select list_id, reason, entries, false as is_about_people
    from list_reports
    where reason <> 'matched' and reason <> 'not_matched'

    union all

    select list_id, 'matched' as reason, matched_entries as entries, true as is_about_people
    from estimated
    where matched_entries > 0

    union all

    select list_id, 'not_matched' as reason, entries - coalesce(matched_entries, 0) as entries, true as is_about_people
    from estimated
    where entries > coalesce(matched_entries, 0)
),

-- the uploader knows how many rows matched and not_matched are together, so that each tells the other:
-- where either is few or nobody, both are withheld
compared as (
    select
        split.list_id,
        split.reason,
        split.entries,
        min_audience_size.min_audience_size,
        split.entries < min_audience_size.min_audience_size
        or split.is_about_people and (
            published_sizes.list_id is null
            or count(*) over (partition by split.list_id, split.is_about_people) < 2
            or min(split.entries) over (partition by split.list_id, split.is_about_people)
            < min_audience_size.min_audience_size
        ) as is_small
    from split
    cross join min_audience_size
    left join published_sizes
        on split.list_id = published_sizes.list_id
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
