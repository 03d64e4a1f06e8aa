with list_reports as (
    select list_id, reason, entries
    from {{ ref('release_list_reports') }}
),

release as (
    select as_of
    from {{ ref('release') }}
)

select
    list_reports.*,
    release.as_of
from list_reports
cross join release
