with usable_contact_block_keys as (
    select contact_id, user_id, block_key
    from {{ ref('usable_contact_block_keys') }}
),

contacts as (
    select user_id, block_key, is_protective, collected_at
    from {{ ref('stg_contacts') }}
),

audience_policy as (
    select setting, value
    from {{ ref('audience_policy') }}
),

-- rule 8: removed or not, whenever it was collected but later than as_of, and whatever channel it was
-- filed under
protective_block_keys as (
    select distinct user_id, block_key
    from contacts
    where
        is_protective
        and (collected_at is null or collected_at <= {{ as_of() }})
),

held_contacts as (
    select usable_contact_block_keys.contact_id
    from usable_contact_block_keys
    inner join protective_block_keys
        on
            usable_contact_block_keys.user_id = protective_block_keys.user_id
            and usable_contact_block_keys.block_key = protective_block_keys.block_key
),

-- only the policy that is written out lets a held contact through
clear_contacts as (
    select distinct usable_contact_block_keys.contact_id
    from usable_contact_block_keys
    where
        not exists (
            select 1 from held_contacts
            where held_contacts.contact_id = usable_contact_block_keys.contact_id
        )
        or exists (
            select 1 from audience_policy
            where audience_policy.setting = 'dual_purpose_policy' and audience_policy.value = 'separate_collection'
        )
)

select * from clear_contacts
