with consent_funnel as (
    select data_use, channel, decision, contacts, users
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
        consent_funnel.contacts,
        consent_funnel.users,
        min_audience_size.min_audience_size,
        consent_funnel.users < min_audience_size.min_audience_size as is_small
    from consent_funnel
    cross join min_audience_size
),

{{ fold_small_rows('compared', 'data_use, channel', 'decision', 'users') }},

-- whoever has several small decisions is one person in the row that withholds them
withheld as (
    select
        folded.data_use,
        folded.channel,
        folded.published_label as decision,
        max(folded.min_audience_size) as min_audience_size,
        count(*) as contacts,
        count(distinct contact_decisions.user_id) as users
    from folded
    inner join contact_decisions
        on
            folded.data_use = contact_decisions.data_use
            and folded.channel = contact_decisions.channel
            and folded.decision = contact_decisions.decision
    where folded.published_label = 'withheld'
    group by folded.data_use, folded.channel, folded.published_label
)

select data_use, channel, decision, contacts, users
from folded
where published_label <> 'withheld'

union all

select
    data_use,
    channel,
    decision,
    case when users >= min_audience_size then contacts end as contacts,
    case when users >= min_audience_size then users end as users
from withheld
