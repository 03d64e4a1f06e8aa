-- A returned row is a raw contact without exactly one decision per matching data use, or a decision
-- without a raw contact. An emptied build is red here.

with data_uses as (
    select
        data_use,
        cast(power(2, row_number() over (order by data_use) - 1) as bigint) as bit
    from {{ ref('list_kinds') }}
),

every_data_use as (
    select
        count(*) as data_uses,
        sum(bit) as bits
    from data_uses
),

expected_and_decided as (
    select contact_id, 1 as expected, 0 as decided, cast(0 as bigint) as bit
    from {{ input_table('raw_contacts') }}

    union all

    select decisions.contact_id, 0 as expected, 1 as decided, coalesce(data_uses.bit, 0) as bit
    from {{ ref('contact_decisions') }} as decisions
    left join data_uses
        on decisions.data_use = data_uses.data_use
),

contacts as (
    select
        contact_id,
        sum(expected) as expected,
        sum(decided) as decided,
        bit_or(bit) as bits
    from expected_and_decided
    group by contact_id
)

-- as many decisions as data uses, and no data use left out: one of each
select contacts.contact_id
from contacts
cross join every_data_use
where
    contacts.expected <> 1
    or contacts.decided <> every_data_use.data_uses
    or contacts.bits <> every_data_use.bits
