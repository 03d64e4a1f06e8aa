-- rule 8: removed or not, whenever it was collected but later than as_of, and whatever channel it was
-- filed under. Whoever has no usable contact has nothing to hold
with users_with_usable_contacts as (
    select distinct user_id
    from {{ ref('usable_contacts') }}
),

contacts as (
    select
        user_id,
        {{ spelled_channel('value') }} as channel,
        value
    from {{ ref('stg_contacts') }}
    where
        is_protective
        and (collected_at is null or collected_at <= {{ as_of() }})
),

users as (
    select user_id, country_code
    from {{ ref('stg_users') }}
),

protective_contacts as (
    select contacts.user_id, contacts.channel, contacts.value
    from contacts
    inner join users_with_usable_contacts
        on contacts.user_id = users_with_usable_contacts.user_id
),

addresses as (
    select user_id, channel, value
    from protective_contacts
    where channel <> 'phone'
),

numbers as (
    select protective_contacts.user_id, protective_contacts.channel, protective_contacts.value, users.country_code
    from protective_contacts
    left join users
        on protective_contacts.user_id = users.user_id
    where protective_contacts.channel = 'phone'
),

{{ normalize_identifiers('addresses', 'numbers', 'user_id') }}

select user_id, block_key
from normalized_identifiers
