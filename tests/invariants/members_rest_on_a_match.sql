{{ config(group = "audiences") }}
-- A returned row is a membership that no accepted contact explains: re-matched from the gate and the raw
-- lists, no key of this contact is a current entry, another upload added it last, or the audience may have no
-- members.

select explanations.list_id, explanations.advertiser_id, explanations.user_id, explanations.contact_id
from {{ ref('member_explanations') }} as explanations
where not exists (
    select 1 from {{ ref('rederived_members') }} as rederived_members
    where
        rederived_members.list_id = explanations.list_id
        and rederived_members.advertiser_id = explanations.advertiser_id
        and rederived_members.user_id = explanations.user_id
        and rederived_members.contact_id = explanations.contact_id
        and rederived_members.upload_id = explanations.upload_id
)
