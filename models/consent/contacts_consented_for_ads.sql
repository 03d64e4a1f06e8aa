-- THE GATE. The only door between contacts and lists, and it opens last: everything else in identity
-- is built and tested before it.
-- depends_on: {{ ref('release_consent_funnel') }}, {{ ref('release_measurement_events_shared') }}
-- depends_on: {{ ref('rederived_gate') }}

with contact_decisions as (
    select contact_id, data_use, decision, consent_event_id, consent_occurred_at, consent_expires_at
    from {{ ref('usable_contact_decisions') }}
),

contacts as (
    select
        contact_id, user_id, channel, purpose, collected_at, verified_at,
        normalized_value, national_number, trunk_number, block_key
    from {{ ref('usable_contacts') }}
),

-- only an accepted decision opens; under opt_out there may be no consent event behind it
consented as (
    select
        contacts.contact_id,
        contacts.user_id,
        contacts.channel,
        contact_decisions.data_use,
        contacts.purpose,
        contact_decisions.consent_event_id,
        contact_decisions.consent_occurred_at,
        contact_decisions.consent_expires_at,
        contacts.collected_at,
        contacts.verified_at,
        contacts.normalized_value,
        contacts.national_number,
        contacts.trunk_number,
        contacts.block_key
    from contact_decisions
    inner join contacts
        on contact_decisions.contact_id = contacts.contact_id
    where contact_decisions.decision = 'accepted'
)

select * from consented
