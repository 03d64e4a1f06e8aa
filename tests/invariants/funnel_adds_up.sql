-- A returned row is a step of the funnel whose contacts or users are not those of the decisions.

with counted as (
    select data_use, channel, decision, count(*) as contacts, count(distinct user_id) as users
    from {{ ref('contact_decisions') }}
    group by data_use, channel, decision
),

differences as (
    (
        select * from counted

        except all

        select * from {{ ref('consent_funnel') }}
    )

    union all

    (
        select * from {{ ref('consent_funnel') }}

        except all

        select * from counted
    )
)

select data_use, channel, decision
from differences
