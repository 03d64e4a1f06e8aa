with usable_contact_block_keys as (
    select contact_id, user_id, block_key
    from {{ ref('usable_contact_block_keys') }}
),

usable_contacts as (
    select contact_id
    from {{ ref('usable_contacts') }}
),

protective_block_keys as (
    select user_id, block_key
    from {{ ref('protective_block_keys') }}
),

audience_policy as (
    select setting, value
    from {{ ref('audience_policy') }}
),

-- only the policy that is written out lets a held contact through
held_contacts as (
    select usable_contact_block_keys.contact_id
    from usable_contact_block_keys
    inner join protective_block_keys
        on
            usable_contact_block_keys.user_id = protective_block_keys.user_id
            and usable_contact_block_keys.block_key = protective_block_keys.block_key
    where not exists (
        select 1 from audience_policy
        where audience_policy.setting = 'dual_purpose_policy' and audience_policy.value = 'separate_collection'
    )
),

clear_contacts as (
    select usable_contacts.contact_id
    from usable_contacts
    where not exists (
        select 1 from held_contacts
        where held_contacts.contact_id = usable_contacts.contact_id
    )
)

select * from clear_contacts
