with consent_events as (
    select consent_event_id, user_id, data_use, is_granted, occurred_at, recorded_at, expires_at
    from {{ ref('stg_consent_events') }}
),

matching_data_uses as (
    select data_use
    from {{ ref('list_kinds') }}
),

users_with_usable_contacts as (
    select distinct user_id
    from {{ ref('usable_contacts') }}
),

-- rule 12: the latest event decides; of two at the same moment the denial, then the shorter grant
ranked as (
    select
        consent_events.*,
        row_number() over (
            partition by consent_events.user_id, consent_events.data_use
            order by
                consent_events.occurred_at desc,
                consent_events.recorded_at desc,
                consent_events.is_granted asc,
                consent_events.expires_at asc nulls last,
                consent_events.consent_event_id asc
        ) as event_rank
    from consent_events
    inner join matching_data_uses
        on consent_events.data_use = matching_data_uses.data_use
    inner join users_with_usable_contacts
        on consent_events.user_id = users_with_usable_contacts.user_id
    where
        consent_events.occurred_at <= {{ as_of() }}
        and consent_events.recorded_at <= {{ as_of() }}
),

winning as (
    select
        user_id,
        data_use,
        consent_event_id,
        case
            when not is_granted then 'denied'
            when expires_at <= {{ as_of() }} then 'expired'
            else 'granted'
        end as consent_state,
        occurred_at as consent_occurred_at,
        case when is_granted then expires_at end as consent_expires_at
    from ranked
    where event_rank = 1
)

select * from winning
