with measurement_events as (
    select
        engagement_id, measurement_partner_id, advertiser_id, event, occurred_at, country_code
    from {{ ref('measurement_events_shared') }}
)

select * from measurement_events
