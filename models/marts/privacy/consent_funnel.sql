with contact_decisions as (
    select data_use, channel, decision, user_id
    from {{ ref('contact_decisions') }}
),

counted as (
    select
        data_use,
        channel,
        decision,
        count(*) as contacts,
        count(distinct user_id) as users
    from contact_decisions
    group by data_use, channel, decision
)

select * from counted
