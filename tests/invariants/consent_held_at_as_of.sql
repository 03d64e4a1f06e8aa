-- A returned row is a membership without a grant for exactly that data use that the raw input says was
-- given and recorded by as_of, still ran, and was followed by no denial. Where the rule is opt_out and
-- the user never said anything, there is no grant to show.

with explanations as (
    select
        explanations.list_id, explanations.advertiser_id, explanations.user_id, explanations.contact_id,
        explanations.consent_event_id, list_kinds.data_use
    from {{ ref('member_explanations') }} as explanations
    inner join {{ input_table('raw_audience_lists') }} as lists
        on explanations.list_id = lists.list_id
    inner join {{ ref('list_kinds') }} as list_kinds
        on lists.list_kind = list_kinds.list_kind
),

events as (
    select
        consent_event_id,
        user_id,
        data_use,
        status,
        occurred_at,
        expires_at
    from {{ input_table('raw_consent_events') }}
    where
        occurred_at <= {{ as_of() }}
        and recorded_at <= {{ as_of() }}
),

held as (
    select explanations.list_id, explanations.advertiser_id, explanations.user_id, explanations.contact_id
    from explanations
    inner join events
        on
            explanations.consent_event_id = events.consent_event_id
            and explanations.user_id = events.user_id
            and explanations.data_use = events.data_use
    where
        events.status = 'granted'
        and (events.expires_at is null or events.expires_at > {{ as_of() }})
        and not exists (
            select 1 from events as later_events
            where
                later_events.user_id = events.user_id
                and later_events.data_use = events.data_use
                and later_events.occurred_at > events.occurred_at
                and coalesce(later_events.status <> 'granted', true)
        )

    union all

    select explanations.list_id, explanations.advertiser_id, explanations.user_id, explanations.contact_id
    from explanations
    inner join {{ input_table('raw_users') }} as users
        on explanations.user_id = users.user_id
    inner join {{ ref('consent_rules') }} as rules
        on
            explanations.data_use = rules.data_use
            and rules.country_code in (users.country_code, '*')
            and rules.choice_model = 'opt_out'
    where
        explanations.consent_event_id is null
        and not exists (
            select 1 from events
            where events.user_id = explanations.user_id and events.data_use = explanations.data_use
        )
)

select list_id, advertiser_id, user_id, contact_id
from explanations
where not exists (
    select 1 from held
    where
        held.list_id = explanations.list_id
        and held.advertiser_id = explanations.advertiser_id
        and held.user_id = explanations.user_id
        and held.contact_id = explanations.contact_id
)
