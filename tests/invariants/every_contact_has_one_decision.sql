-- A returned row is a raw contact without exactly one decision per matching data use, or a decision
-- without a raw contact. An emptied build is red here.

with expected_and_decided as (
    select contacts.contact_id, list_kinds.data_use, 1 as expected, 0 as decided
    from {{ input_table('raw_contacts') }} as contacts
    cross join {{ ref('list_kinds') }} as list_kinds

    union all

    select contact_id, data_use, 0 as expected, 1 as decided
    from {{ ref('contact_decisions') }}
)

select contact_id, data_use
from expected_and_decided
group by contact_id, data_use
having sum(expected) <> 1 or sum(decided) <> 1
