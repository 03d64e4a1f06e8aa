with contacts as (
    select
        contact_id, user_id, channel, purpose_class, is_known_purpose, is_security_purpose, collected_at
    from {{ ref('stg_contacts') }}
    where not is_usable_for_matching
),

matching_data_uses as (
    select data_use
    from {{ ref('list_kinds') }}
),

usable_contact_decisions as (
    select contact_id, data_use, user_id, channel, purpose_class, decision
    from {{ ref('usable_contact_decisions') }}
),

-- DESIGN 4.1, rules 1 to 4: whatever else may be said of these contacts, their purpose refuses them
refused_by_purpose as (
    select
        contacts.contact_id,
        matching_data_uses.data_use,
        contacts.user_id,
        contacts.channel,
        contacts.purpose_class,
        case
            when contacts.collected_at is null or contacts.collected_at > {{ as_of() }} then 'not_collected'
            when not contacts.is_known_purpose then 'purpose_unknown'
            when contacts.is_security_purpose then 'purpose_security'
            else 'purpose_not_ads'
        end as decision
    from contacts
    cross join matching_data_uses
),

decided as (
    select * from refused_by_purpose

    union all

    select * from usable_contact_decisions
)

select * from decided
