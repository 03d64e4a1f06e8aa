with contacts as (
    select
        contact_id, user_id, channel, purpose, collected_at, verified_at,
        normalized_value, national_number, trunk_number, block_key
    from {{ ref('stg_contacts') }}
    where is_usable_for_matching
),

valid_contacts as (
    select *
    from contacts
    where normalized_value is not null
)

select * from valid_contacts
