with audiences as (
    select
        list_id, advertiser_id, list_kind, partner_id, list_status, reported_size, match_rate_band,
        uploaded_entries
    from {{ ref('release_audiences') }}
),

release as (
    select as_of
    from {{ ref('release') }}
)

select
    audiences.*,
    release.as_of
from audiences
cross join release
