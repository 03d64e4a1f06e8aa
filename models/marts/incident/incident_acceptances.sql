-- DESIGN 4.1 with every as_of at once: what rules 1 to 12 ask of a moment bounds the time in which a contact
-- is accepted, so that no match needs a judgement of its own
with contacts as (
    select
        contact_id, user_id, channel, purpose, is_protective, collected_at, verified_at, removed_at,
        normalized_value, national_number, trunk_number, block_key
    from {{ ref('incident_contacts') }}
),

active_adults as (
    select user_id
    from {{ input_table('raw_users') }}
    where account_status = 'active' and is_adult
),

purposes as (
    select purpose, is_assignable, purpose_class, is_usable_for_matching
    from {{ ref('purposes') }}
),

matching_data_uses as (
    select data_use
    from {{ ref('list_kinds') }}
),

consents as (
    select user_id, data_use, granted_from, granted_until
    from {{ ref('incident_consents') }}
),

suppressions as (
    select
        {{ spelled_channel('value') }} as channel,
        value,
        added_at
    from {{ input_table('raw_suppressions') }}
    where nullif({{ trim_white_space('advertiser_id') }}, '') is null
),

audience_policy as (
    select setting, value
    from {{ ref('audience_policy') }}
),

-- rules 2 to 4
usable_purposes as (
    select purposes.purpose, matching_data_uses.data_use
    from purposes
    cross join matching_data_uses
    where
        purposes.is_assignable
        and purposes.is_usable_for_matching
        and purposes.purpose_class = 'advertising'
        and position(purposes.purpose || '.' in matching_data_uses.data_use || '.') = 1
),

-- rules 1, 6, 7, 9 and 10
usable_contacts as (
    select
        contacts.contact_id,
        contacts.user_id,
        contacts.channel,
        contacts.purpose,
        greatest(contacts.collected_at, contacts.verified_at) as verified_from,
        contacts.removed_at,
        contacts.normalized_value,
        contacts.national_number,
        contacts.trunk_number,
        contacts.block_key
    from contacts
    inner join active_adults
        on contacts.user_id = active_adults.user_id
    where
        contacts.collected_at is not null
        and contacts.verified_at is not null
        and contacts.normalized_value is not null
        and exists (
            select 1 from usable_purposes
            where usable_purposes.purpose = contacts.purpose
        )
),

contact_block_keys as (
    {{ meeting_block_keys('usable_contacts', 'contact_id, user_id') }}
),

addresses as (
    select channel, value, added_at
    from suppressions
    where channel = 'email'
),

numbers as (
    select channel, value, added_at, cast(null as varchar) as country_code
    from suppressions
    where channel = 'phone'
),

{{ normalize_identifiers('addresses', 'numbers', 'added_at') }},

-- rules 8 and 11: from when a value is held or suppressed; without a moment, from ever
refusals as (
    select contact_block_keys.contact_id, contacts.collected_at as refused_from
    from contact_block_keys
    inner join contacts
        on
            contact_block_keys.user_id = contacts.user_id
            and contact_block_keys.block_key = contacts.block_key
    where
        contacts.is_protective
        and not exists (
            select 1 from audience_policy
            where audience_policy.setting = 'dual_purpose_policy' and audience_policy.value = 'separate_collection'
        )

    union all

    select contact_block_keys.contact_id, normalized_identifiers.added_at as refused_from
    from contact_block_keys
    inner join normalized_identifiers
        on contact_block_keys.block_key = normalized_identifiers.block_key
),

first_refusals as (
    select
        contact_id,
        bool_or(refused_from is null) as is_always_refused,
        min(refused_from) as refused_from
    from refusals
    group by contact_id
),

-- rules 5 and 12; greatest and least pass over nulls, which are no bound
bounded as (
    select
        usable_contacts.contact_id,
        usable_contacts.user_id,
        usable_purposes.data_use,
        greatest(usable_contacts.verified_from, consents.granted_from) as accepted_from,
        least(
            usable_contacts.removed_at, first_refusals.refused_from, consents.granted_until
        ) as accepted_until
    from usable_contacts
    inner join usable_purposes
        on usable_contacts.purpose = usable_purposes.purpose
    inner join consents
        on
            usable_contacts.user_id = consents.user_id
            and usable_purposes.data_use = consents.data_use
    left join first_refusals
        on usable_contacts.contact_id = first_refusals.contact_id
    where not coalesce(first_refusals.is_always_refused, false)
)

select contact_id, user_id, data_use, accepted_from, accepted_until
from bounded
where accepted_until is null or accepted_until > accepted_from
