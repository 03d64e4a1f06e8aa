{#
    The engagements that may be shared, once more and straight from the raw inputs: consent asked for at
    both moments by the same question. Ends in `rederived_measurement`: engagement_id.
#}
{% macro rederived_measurement() %}
active_adults as (
    select user_id
    from {{ input_table('raw_users') }}
    where account_status = 'active' and is_adult
),

moments as (
    select
        engagements.engagement_id,
        engagements.user_id,
        asked.is_at_as_of,
        case when asked.is_at_as_of then {{ as_of() }} else engagements.occurred_at end as moment
    from {{ input_table('raw_ad_engagements') }} as engagements
    inner join active_adults
        on engagements.user_id = active_adults.user_id
    cross join (values (true), (false)) as asked (is_at_as_of)
    where
        engagements.event in ('view', 'click')
        and engagements.occurred_at <= {{ as_of() }}
        and nullif({{ trim_white_space('engagements.measurement_partner_id') }}, '') is not null
),

known_events as (
    select
        moments.engagement_id,
        moments.is_at_as_of,
        moments.moment,
        events.status,
        events.occurred_at,
        events.recorded_at,
        events.expires_at
    from moments
    inner join {{ input_table('raw_consent_events') }} as events
        on
            moments.user_id = events.user_id
            and events.data_use = 'ads.measurement'
            and events.occurred_at <= moments.moment
            and events.recorded_at <= moments.moment
),

-- the last moment's events must all be grants, and the first of their ends still to come
last_events as (
    select known_events.*
    from known_events
    where not exists (
        select 1 from known_events as later_events
        where
            later_events.engagement_id = known_events.engagement_id
            and later_events.is_at_as_of = known_events.is_at_as_of
            and (later_events.occurred_at, later_events.recorded_at)
            > (known_events.occurred_at, known_events.recorded_at)
    )
),

consented_moments as (
    select engagement_id, is_at_as_of
    from last_events
    group by engagement_id, is_at_as_of
    having
        min(case when status = 'granted' then 1 else 0 end) = 1
        and coalesce(min(expires_at) > max(moment), true)
),

rederived_measurement as (
    select engagement_id
    from consented_moments
    group by engagement_id
    having count(*) = 2
)
{% endmacro %}
