-- Twin of measurement_shares_nothing_else: a returned row is a view or click with consent at both moments
-- that is not shared, or that is shared with other content than the raw input has.

with {{ rederived_measurement() }}

select engagements.engagement_id
from {{ input_table('raw_ad_engagements') }} as engagements
inner join rederived_measurement
    on engagements.engagement_id = rederived_measurement.engagement_id
where not exists (
    select 1 from {{ ref('measurement_events_shared') }} as shared
    where
        shared.engagement_id = engagements.engagement_id
        and shared.measurement_partner_id is not distinct from engagements.measurement_partner_id
        and shared.advertiser_id is not distinct from engagements.advertiser_id
        and shared.event = engagements.event
        and shared.occurred_at = engagements.occurred_at
        and shared.country_code is not distinct from engagements.country_code
)
