with contacts as (
    select contact_id, user_id, channel, normalized_value, national_number, trunk_number, block_key
    from {{ ref('stg_contacts') }}
    where is_usable_for_matching and normalized_value is not null
),

keys as (
    {{ meeting_block_keys('contacts', 'contact_id, user_id') }}
)

select * from keys
