with usable_contacts as (
    select contact_id, user_id, channel, normalized_value, national_number, trunk_number, block_key
    from {{ ref('usable_contacts') }}
),

keys as (
    {{ meeting_block_keys('usable_contacts', 'contact_id, user_id') }}
)

select * from keys
