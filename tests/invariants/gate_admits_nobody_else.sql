-- A returned row is a contact behind the gate that the raw inputs do not admit for that data use.

with {{ rederived_gate() }}

select gate.contact_id, gate.data_use
from {{ ref('contacts_consented_for_ads') }} as gate
where not exists (
    select 1 from rederived_gate
    where rederived_gate.contact_id = gate.contact_id and rederived_gate.data_use = gate.data_use
)
