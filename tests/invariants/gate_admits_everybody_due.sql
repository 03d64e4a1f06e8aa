-- Twin of gate_admits_nobody_else: a returned row is a contact that the raw inputs admit and the gate
-- does not, so a gate that admits nobody is no way to pass.

select rederived_gate.contact_id, rederived_gate.data_use
from {{ ref('rederived_gate') }} as rederived_gate
where not exists (
    select 1 from {{ ref('contacts_consented_for_ads') }} as gate
    where gate.contact_id = rederived_gate.contact_id and gate.data_use = rederived_gate.data_use
)
