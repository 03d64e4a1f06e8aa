with contacts as (
    select contact_id, user_id, channel, normalized_value, national_number, block_key
    from {{ ref('stg_contacts') }}
    where is_usable_for_matching and normalized_value is not null
),

-- block wide: a number whose country nobody knows meets another by its digits, with the calling code
-- or without
keys as (
    select contact_id, user_id, channel, block_key
    from contacts

    union all

    select contact_id, user_id, channel, national_number as block_key
    from contacts
    where channel = 'phone'

    union all

    select contact_id, user_id, channel, substr(normalized_value, 2) as block_key
    from contacts
    where channel = 'phone'
)

select * from keys
