-- The one place outside identity in which a contact is normalized whatever it was given for. A view: no
-- value is kept, and no key is made here
with contacts as (
    select contact_id, user_id, channel, value, purpose, collected_at, verified_at, removed_at
    from {{ input_table('raw_contacts') }}
),

users as (
    select user_id, country_code
    from {{ input_table('raw_users') }}
),

purposes as (
    select purpose, is_assignable, purpose_class, is_protective
    from {{ ref('purposes') }}
),

-- a purpose that the seed does not list or assign is protective, and has the class that the seed gives it
purposed as (
    select
        contacts.contact_id,
        contacts.user_id,
        case when contacts.channel in ('email', 'phone') then contacts.channel else 'unknown' end as channel,
        contacts.value,
        {{ spelled_channel('contacts.value') }} as spelled_channel,
        users.country_code,
        purposes.purpose,
        coalesce(purposes.purpose_class, 'unknown') as purpose_class,
        purposes.purpose is null
        or purposes.is_protective
        or not purposes.is_assignable
        or purposes.purpose_class = 'unknown' as is_protective,
        contacts.collected_at,
        contacts.verified_at,
        contacts.removed_at
    from contacts
    left join users
        on contacts.user_id = users.user_id
    left join purposes
        on contacts.purpose = purposes.purpose
),

addresses as (
    select *
    from purposed
    where spelled_channel = 'email'
),

numbers as (
    select *
    from purposed
    where spelled_channel = 'phone'
),

{{ normalize_identifiers(
    'addresses', 'numbers',
    'contact_id, user_id, channel, purpose, purpose_class, is_protective, collected_at, verified_at, removed_at'
) }}

select
    contact_id,
    user_id,
    channel,
    purpose,
    purpose_class,
    is_protective,
    collected_at,
    verified_at,
    removed_at,
    -- what was filed under another channel meets refusals, and no list
    case when channel = 'phone' or national_number is null then normalized_value end as normalized_value,
    national_number,
    trunk_number,
    block_key
from normalized_identifiers
