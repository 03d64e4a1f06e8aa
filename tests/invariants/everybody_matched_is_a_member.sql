{{ config(group = "audiences") }}
-- Twin of members_rest_on_a_match: a returned row is an accepted contact with the key of a current entry
-- that stands behind no membership, so audiences without members are no way to pass.

select
    rederived_members.list_id, rederived_members.advertiser_id, rederived_members.user_id,
    rederived_members.contact_id
from {{ ref('rederived_members') }} as rederived_members
where not exists (
    select 1 from {{ ref('member_explanations') }} as explanations
    where
        explanations.list_id = rederived_members.list_id
        and explanations.advertiser_id = rederived_members.advertiser_id
        and explanations.user_id = rederived_members.user_id
        and explanations.contact_id = rederived_members.contact_id
)
