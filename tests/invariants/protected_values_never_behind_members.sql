-- A returned row is a member whose membership rests on a value that the same user also gave for
-- protection, in whatever spelling, according to the raw input. Under `separate_collection` the policy
-- lets such values through by their own ads contact, and nothing is left to assert.

with explanations as (
    select list_id, advertiser_id, user_id, contact_id
    from {{ ref('member_explanations') }}
),

policy as (
    select value
    from {{ ref('audience_policy') }}
    where setting = 'dual_purpose_policy'
),

{{ normalized_raw_contacts(users='explanations') }},

{{ protective_contacts() }},

contact_block_keys as (
    {{ all_block_keys('normalized_identifiers', 'contact_id, user_id') }}
)

select explanations.list_id, explanations.advertiser_id, explanations.user_id, explanations.contact_id
from explanations
inner join contact_block_keys
    on explanations.contact_id = contact_block_keys.contact_id
inner join protective_contacts
    on
        contact_block_keys.user_id = protective_contacts.user_id
        and contact_block_keys.block_key = protective_contacts.block_key
where not exists (
    select 1 from policy
    where value = 'separate_collection'
)
