with consent_events as (
    select consent_event_id, user_id, data_use, status, occurred_at, recorded_at, expires_at
    from {{ input_table('raw_consent_events') }}
),

matching_data_uses as (
    select data_use
    from {{ ref('list_kinds') }}
),

users as (
    select user_id, country_code
    from {{ input_table('raw_users') }}
),

consent_rules as (
    select country_code, data_use, choice_model
    from {{ ref('consent_rules') }}
),

-- an event counts from the moment at which it had occurred and the platform knew of it
known_events as (
    select
        consent_events.consent_event_id,
        consent_events.user_id,
        consent_events.data_use,
        coalesce(consent_events.status = 'granted', false) as is_granted,
        consent_events.occurred_at,
        consent_events.recorded_at,
        consent_events.expires_at,
        greatest(consent_events.occurred_at, consent_events.recorded_at) as known_at
    from consent_events
    inner join matching_data_uses
        on consent_events.data_use = matching_data_uses.data_use
),

-- rule 12 at every moment: an event decides until one before it in this order is known
ordered_events as (
    select
        user_id,
        data_use,
        is_granted,
        expires_at,
        known_at,
        min(known_at) over (
            partition by user_id, data_use
            order by
                occurred_at desc,
                recorded_at desc,
                is_granted asc,
                expires_at asc nulls last,
                consent_event_id asc
            rows between unbounded preceding and 1 preceding
        ) as superseded_at
    from known_events
),

-- least passes over nulls, which are no end
granted as (
    select
        user_id,
        data_use,
        known_at as granted_from,
        least(superseded_at, expires_at) as granted_until
    from ordered_events
    where is_granted
),

first_events as (
    select
        user_id,
        data_use,
        min(known_at) as first_known_at
    from known_events
    group by user_id, data_use
),

-- silence where the rule is opt_out, until the first event
silent as (
    select
        users.user_id,
        matching_data_uses.data_use,
        cast(null as timestamptz) as granted_from,
        first_events.first_known_at as granted_until
    from users
    cross join matching_data_uses
    left join consent_rules as country_rules
        on
            users.country_code = country_rules.country_code
            and matching_data_uses.data_use = country_rules.data_use
    left join consent_rules as every_country_rules
        on
            every_country_rules.country_code = '*'
            and matching_data_uses.data_use = every_country_rules.data_use
    left join first_events
        on
            users.user_id = first_events.user_id
            and matching_data_uses.data_use = first_events.data_use
    where coalesce(country_rules.choice_model, every_country_rules.choice_model) = 'opt_out'
)

select user_id, data_use, granted_from, granted_until
from granted
where granted_until is null or granted_until > granted_from

union all

select user_id, data_use, granted_from, granted_until
from silent
