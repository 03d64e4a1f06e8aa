-- A returned row is a member whose membership rests on a contact that the raw input says was given for
-- security, or for anything else that is not advertising. Assumes nothing of staging or of the gate.

with explanations as (
    select list_id, advertiser_id, user_id, contact_id
    from {{ ref('member_explanations') }}
),

advertising_contacts as (
    select contacts.contact_id, contacts.user_id
    from {{ input_table('raw_contacts') }} as contacts
    inner join {{ ref('purposes') }} as purposes
        on contacts.purpose = purposes.purpose
    where purposes.purpose_class = 'advertising' and not purposes.is_protective
)

select explanations.list_id, explanations.advertiser_id, explanations.user_id, explanations.contact_id
from explanations
where not exists (
    select 1 from advertising_contacts
    where
        advertising_contacts.contact_id = explanations.contact_id
        and advertising_contacts.user_id = explanations.user_id
)
