with addresses as (
    select
        contact_id, user_id, channel, value, purpose, purpose_class, collected_at, verified_at, removed_at
    from {{ ref('stg_contacts') }}
    where is_usable_for_matching and channel <> 'phone'
),

-- a number without a calling code is read in the country of its user
numbers as (
    select
        contacts.contact_id,
        contacts.user_id,
        contacts.channel,
        contacts.value,
        contacts.purpose,
        contacts.purpose_class,
        contacts.collected_at,
        contacts.verified_at,
        contacts.removed_at,
        users.country_code
    from {{ ref('stg_contacts') }} as contacts
    left join {{ ref('stg_users') }} as users
        on contacts.user_id = users.user_id
    where contacts.is_usable_for_matching and contacts.channel = 'phone'
),

{{ normalize_identifiers(
    'addresses', 'numbers',
    'contact_id, user_id, channel, purpose, purpose_class, collected_at, verified_at, removed_at'
) }}

select
    contact_id,
    user_id,
    channel,
    purpose,
    purpose_class,
    collected_at,
    verified_at,
    removed_at,
    normalized_value,
    national_number,
    trunk_number,
    block_key
from normalized_identifiers
