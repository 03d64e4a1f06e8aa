with usable_contacts as (
    select
        contact_id, user_id, channel, purpose, purpose_class, collected_at, verified_at, removed_at,
        normalized_value
    from {{ ref('usable_contacts') }}
),

users as (
    select user_id, country_code, is_adult, account_status
    from {{ ref('stg_users') }}
),

contacts_clear_of_protection as (
    select contact_id
    from {{ ref('contacts_clear_of_protection') }}
),

contacts_clear_of_suppression as (
    select contact_id
    from {{ ref('contacts_clear_of_suppression') }}
),

consent_states as (
    select user_id, data_use, consent_state, consent_event_id, consent_occurred_at, consent_expires_at
    from {{ ref('consent_states') }}
),

consent_rules as (
    select country_code, data_use, choice_model
    from {{ ref('consent_rules') }}
),

matching_data_uses as (
    select data_use
    from {{ ref('list_kinds') }}
),

-- whoever finds no row in a join is refused
contacts as (
    select
        usable_contacts.*,
        users.country_code,
        coalesce(users.account_status, '') = 'active' as is_active,
        coalesce(users.is_adult, false) as is_adult,
        contacts_clear_of_protection.contact_id is not null as is_clear_of_protection,
        contacts_clear_of_suppression.contact_id is not null as is_clear_of_suppression
    from usable_contacts
    left join users
        on usable_contacts.user_id = users.user_id
    left join contacts_clear_of_protection
        on usable_contacts.contact_id = contacts_clear_of_protection.contact_id
    left join contacts_clear_of_suppression
        on usable_contacts.contact_id = contacts_clear_of_suppression.contact_id
),

decided as (
    select
        contacts.contact_id,
        matching_data_uses.data_use,
        contacts.user_id,
        contacts.channel,
        contacts.purpose_class,
        -- DESIGN 4.1: the first rule that applies. A usable purpose is known and not for security, so that
        -- rules 2 and 3 are behind these contacts
        case
            when contacts.collected_at is null or contacts.collected_at > {{ as_of() }} then 'not_collected'
            -- a purpose covers the data use that it equals and those below it
            when
                matching_data_uses.data_use <> contacts.purpose
                and left(matching_data_uses.data_use, length(contacts.purpose) + 1) <> contacts.purpose || '.'
                then 'purpose_not_ads'
            when contacts.removed_at <= {{ as_of() }} then 'removed'
            when contacts.verified_at is null or contacts.verified_at > {{ as_of() }} then 'not_verified'
            when contacts.normalized_value is null then 'invalid_value'
            when not contacts.is_clear_of_protection then 'held_for_protection'
            when not contacts.is_active then 'user_not_active'
            when not contacts.is_adult then 'user_not_adult'
            when not contacts.is_clear_of_suppression then 'suppressed'
            when consent_states.consent_state = 'granted' then 'accepted'
            when consent_states.consent_state = 'denied' then 'consent_denied'
            when consent_states.consent_state = 'expired' then 'consent_expired'
            -- the one place where the absence of a row lets pass: silence where the rule is opt_out
            when
                consent_states.user_id is null
                and coalesce(country_rules.choice_model, every_country_rules.choice_model) = 'opt_out'
                then 'accepted'
            else 'consent_unknown'
        end as decision,
        consent_states.consent_event_id,
        consent_states.consent_occurred_at,
        consent_states.consent_expires_at
    from contacts
    cross join matching_data_uses
    left join consent_states
        on
            contacts.user_id = consent_states.user_id
            and matching_data_uses.data_use = consent_states.data_use
    left join consent_rules as country_rules
        on
            contacts.country_code = country_rules.country_code
            and matching_data_uses.data_use = country_rules.data_use
    left join consent_rules as every_country_rules
        on
            every_country_rules.country_code = '*'
            and matching_data_uses.data_use = every_country_rules.data_use
)

select * from decided
