-- A returned row is a match of the log up to as_of without exactly one class, or a class of no such match.

with logged as (
    select match_id
    from {{ input_table('raw_legacy_matches') }}
    where matched_at <= {{ as_of() }}
),

counted as (
    select match_id, 1 as logged, 0 as classed
    from logged

    union all

    select match_id, 0 as logged, 1 as classed
    from {{ ref('incident_matches') }}
)

select match_id
from counted
group by match_id
having sum(logged) <> 1 or sum(classed) <> 1
