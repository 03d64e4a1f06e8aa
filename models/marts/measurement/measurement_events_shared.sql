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

-- consent is asked for twice: at the moment of the view or click, and at as_of
moments as (
    select engagement_id, user_id, 'then' as asked, occurred_at as moment
    from ad_engagements

    union all

    select engagement_id, user_id, 'now' as asked, {{ as_of() }} as moment
    from ad_engagements
),

-- rule 12, with as_of := the moment that is asked for
ranked as (
    select
        moments.engagement_id,
        moments.asked,
        moments.moment,
        measurement_consent_events.is_granted,
        measurement_consent_events.expires_at,
        row_number() over (
            partition by moments.engagement_id, moments.asked
            order by
                measurement_consent_events.occurred_at desc,
                measurement_consent_events.recorded_at desc,
                measurement_consent_events.is_granted asc,
                measurement_consent_events.expires_at asc nulls last,
                measurement_consent_events.consent_event_id asc
        ) as event_rank
    from moments
    inner join measurement_consent_events
        on
            moments.user_id = measurement_consent_events.user_id
            and moments.moment >= measurement_consent_events.occurred_at
            and moments.moment >= measurement_consent_events.recorded_at
),

consented as (
    select engagement_id, asked
    from ranked
    where
        event_rank = 1
        and is_granted
        and (expires_at is null or expires_at > moment)
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
    inner join consented as consented_then
        on
            ad_engagements.engagement_id = consented_then.engagement_id
            and consented_then.asked = 'then'
    inner join consented as consented_now
        on
            ad_engagements.engagement_id = consented_now.engagement_id
            and consented_now.asked = 'now'
)

select * from shared
