-- A returned row is a view or click that is shared although the raw input does not show an active adult
-- with a running grant for ads.measurement, both at the event and at as_of (the August 2019 fault), or that
-- goes to another partner than its own, or with another country.

with {{ rederived_measurement() }}

select shared.engagement_id
from {{ ref('measurement_events_shared') }} as shared
where not exists (
    select 1 from rederived_measurement
    inner join {{ input_table('raw_ad_engagements') }} as engagements
        on rederived_measurement.engagement_id = engagements.engagement_id
    where
        engagements.engagement_id = shared.engagement_id
        and engagements.measurement_partner_id = shared.measurement_partner_id
        and engagements.country_code is not distinct from shared.country_code
)
