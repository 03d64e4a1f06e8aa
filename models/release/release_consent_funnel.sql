with consent_funnel as (
    select data_use, channel, decision, users
    from {{ ref('consent_funnel') }}
),

contact_decisions as (
    select data_use, channel, decision, user_id
    from {{ ref('contact_decisions') }}
),

min_audience_size as (
    select cast(value as integer) as min_audience_size
    from {{ ref('audience_policy') }}
    where setting = 'min_audience_size'
),

compared as (
    select
        consent_funnel.data_use,
        consent_funnel.channel,
        consent_funnel.decision,
        min_audience_size.min_audience_size,
        consent_funnel.users < min_audience_size.min_audience_size as is_small,
        row_number() over (
            partition by
                consent_funnel.data_use, consent_funnel.channel,
                consent_funnel.users < min_audience_size.min_audience_size
            order by consent_funnel.users, consent_funnel.decision
        ) as size_rank,
        sum(case when consent_funnel.users < min_audience_size.min_audience_size then consent_funnel.users end)
            over (partition by consent_funnel.data_use, consent_funnel.channel) as small_users
    from consent_funnel
    cross join min_audience_size
),

-- where the small rows together stay small, the next larger one goes with them
folded as (
    select
        data_use,
        channel,
        decision,
        min_audience_size,
        case
            when is_small then 'withheld'
            when small_users < min_audience_size and size_rank = 1 then 'withheld'
            else decision
        end as published_decision
    from compared
),

counted as (
    select
        folded.data_use,
        folded.channel,
        folded.published_decision as decision,
        max(folded.min_audience_size) as min_audience_size,
        count(*) as contacts,
        count(distinct contact_decisions.user_id) as users
    from folded
    inner join contact_decisions
        on
            folded.data_use = contact_decisions.data_use
            and folded.channel = contact_decisions.channel
            and folded.decision = contact_decisions.decision
    group by folded.data_use, folded.channel, folded.published_decision
)

select
    data_use,
    channel,
    decision,
    case when users >= min_audience_size then contacts end as contacts,
    case when users >= min_audience_size then users end as users
from counted
