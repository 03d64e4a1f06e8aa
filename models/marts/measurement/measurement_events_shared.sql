with ad_engagements as (
    select
        engagement_id, user_id, advertiser_id, measurement_partner_id, event, occurred_at, country_code
    from {{ ref('stg_ad_engagements') }}
    where
        event in ('view', 'click')
        and occurred_at <= {{ as_of() }}
        -- to its measurement partner: without one it goes nowhere
        and {{ trim_white_space('measurement_partner_id') }} <> ''
),

users as (
    select user_id
    from {{ ref('stg_users') }}
    where account_status = 'active' and is_adult
),

measurement_consent_events as (
    select consent_event_id, user_id, is_granted, occurred_at, recorded_at, expires_at
    from {{ ref('stg_consent_events') }}
    where data_use = 'ads.measurement'
),

consented_now as (
    select user_id
    from {{ ref('consent_states') }}
    where data_use = 'ads.measurement' and consent_state = 'granted'
),

-- rule 12 once more, with as_of := the moment of the view or click
ranked as (
    select
        ad_engagements.engagement_id,
        measurement_consent_events.is_granted,
        measurement_consent_events.expires_at,
        ad_engagements.occurred_at,
        row_number() over (
            partition by ad_engagements.engagement_id
            order by
                measurement_consent_events.occurred_at desc,
                measurement_consent_events.recorded_at desc,
                measurement_consent_events.is_granted asc,
                measurement_consent_events.expires_at asc nulls last,
                measurement_consent_events.consent_event_id asc
        ) as event_rank
    from ad_engagements
    inner join measurement_consent_events
        on
            ad_engagements.user_id = measurement_consent_events.user_id
            and ad_engagements.occurred_at >= measurement_consent_events.occurred_at
            and ad_engagements.occurred_at >= measurement_consent_events.recorded_at
),

consented_then as (
    select engagement_id
    from ranked
    where
        event_rank = 1
        and is_granted
        and (expires_at is null or expires_at > occurred_at)
),

shared as (
    select
        ad_engagements.engagement_id,
        ad_engagements.measurement_partner_id,
        ad_engagements.advertiser_id,
        ad_engagements.event,
        ad_engagements.occurred_at,
        ad_engagements.country_code
    from ad_engagements
    inner join users
        on ad_engagements.user_id = users.user_id
    inner join consented_then
        on ad_engagements.engagement_id = consented_then.engagement_id
    inner join consented_now
        on ad_engagements.user_id = consented_now.user_id
)

select * from shared
