with measurement_events as (
    select
        engagement_id, measurement_partner_id, advertiser_id, event, occurred_at, country_code
    from {{ ref('measurement_events_shared') }}
),

release as (
    select as_of
    from {{ ref('release') }}
)

select
    measurement_events.*,
    release.as_of
from measurement_events
cross join release
