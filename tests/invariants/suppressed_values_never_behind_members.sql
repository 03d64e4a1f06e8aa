-- A returned row is a membership that rests on a value which the raw input says somebody asked every
-- advertiser, or this one, to leave alone, in whatever spelling.

with explanations as (
    select list_id, advertiser_id, user_id, contact_id
    from {{ ref('member_explanations') }}
),

{{ normalized_raw_suppressions() }},

explained_contacts as (
    select distinct gate.contact_id, gate.normalized_value, gate.national_number, gate.trunk_number, gate.block_key
    from {{ ref('contacts_consented_for_ads') }} as gate
    inner join explanations
        on gate.contact_id = explanations.contact_id
),

explained_block_keys as (
    {{ all_block_keys('explained_contacts', 'contact_id') }}
)

select explanations.list_id, explanations.advertiser_id, explanations.user_id, explanations.contact_id
from explanations
inner join explained_block_keys
    on explanations.contact_id = explained_block_keys.contact_id
inner join normalized_identifiers
    on explained_block_keys.block_key = normalized_identifiers.block_key
where
    normalized_identifiers.advertiser_id is null
    or normalized_identifiers.advertiser_id = {{ trim_white_space('explanations.advertiser_id') }}
