with usable_contact_block_keys as (
    select contact_id, block_key
    from {{ ref('usable_contact_block_keys') }}
),

usable_contacts as (
    select contact_id
    from {{ ref('usable_contacts') }}
),

suppressions as (
    select block_key, added_at
    from {{ ref('stg_suppressions') }}
),

-- rule 11: permanent once added; a suppression without a moment is in force
suppressed_contacts as (
    select usable_contact_block_keys.contact_id
    from usable_contact_block_keys
    inner join suppressions
        on usable_contact_block_keys.block_key = suppressions.block_key
    where suppressions.added_at is null or suppressions.added_at <= {{ as_of() }}
),

clear_contacts as (
    select usable_contacts.contact_id
    from usable_contacts
    where not exists (
        select 1 from suppressed_contacts
        where suppressed_contacts.contact_id = usable_contacts.contact_id
    )
)

select * from clear_contacts
