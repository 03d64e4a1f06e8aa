-- A returned row is a raw contact without exactly one decision per matching data use, or a decision
-- without a raw contact. An emptied build is red here.

with expected as (
    select contacts.contact_id, list_kinds.data_use
    from {{ input_table('raw_contacts') }} as contacts
    cross join {{ ref('list_kinds') }} as list_kinds
),

decided as (
    select contact_id, data_use
    from {{ ref('contact_decisions') }}
),

differences as (
    (
        select * from expected

        except all

        select * from decided
    )

    union all

    (
        select * from decided

        except all

        select * from expected
    )
)

select contact_id, data_use
from differences
