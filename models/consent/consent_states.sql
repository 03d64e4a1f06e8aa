with consent_events as (
    select consent_event_id, user_id, data_use, is_granted, occurred_at, recorded_at, expires_at
    from {{ ref('stg_consent_events') }}
),

-- rule 12: the latest event decides; of two at the same moment the denial, then the shorter grant
ranked as (
    select
        *,
        row_number() over (
            partition by user_id, data_use
            order by
                occurred_at desc,
                recorded_at desc,
                is_granted asc,
                expires_at asc nulls last,
                consent_event_id asc
        ) as event_rank
    from consent_events
    where
        occurred_at <= {{ as_of() }}
        and recorded_at <= {{ as_of() }}
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
