-- A returned row is a view or click that is shared although the raw input does not show an active adult
-- with a running grant for ads.measurement, both at the event and at as_of (the August 2019 fault).

with {{ rederived_measurement() }}

select shared.engagement_id
from {{ ref('measurement_events_shared') }} as shared
where not exists (
    select 1 from rederived_measurement
    where rederived_measurement.engagement_id = shared.engagement_id
)
