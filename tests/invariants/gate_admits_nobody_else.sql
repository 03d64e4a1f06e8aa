-- A returned row is a contact behind the gate that the raw inputs do not admit for that data use, or that
-- stands there with another user's name or another value than its own.

select gate.contact_id, gate.data_use
from {{ ref('contacts_consented_for_ads') }} as gate
where not exists (
    select 1 from {{ ref('rederived_gate') }} as rederived_gate
    where
        rederived_gate.contact_id = gate.contact_id
        and rederived_gate.user_id = gate.user_id
        and rederived_gate.normalized_value = gate.normalized_value
        and rederived_gate.data_use = gate.data_use
)
