-- Twin of who_withdrew_leaves: a returned row is a removal of somebody who is delivered, or one whose reason
-- the raw inputs, the gate and the audiences do not bear out. So nobody leaves for nothing.

with removals as (
    select removed.list_kind, removed.list_id, removed.advertiser_id, removed.user_id, removed.reason,
        list_kinds.data_use
    from {{ ref('release_membership_changes') }} as removed
    left join {{ ref('list_kinds') }} as list_kinds
        on removed.list_kind = list_kinds.list_kind
    where removed.change = 'remove'
),

delivered as (
    select list_id, advertiser_id, user_id from {{ ref('release_tailored_audience_members') }}

    union all

    select list_id, advertiser_id, user_id from {{ ref('release_partner_audience_members') }}
),

users as (
    select user_id
    from {{ input_table('raw_users') }}
),

removed_users as (
    select distinct user_id
    from removals
),

events as (
    select
        events.user_id,
        events.data_use,
        events.status,
        events.expires_at,
        row_number() over (
            partition by events.user_id, events.data_use
            order by
                events.occurred_at desc,
                events.recorded_at desc,
                case when events.status = 'granted' then 1 else 0 end asc,
                events.expires_at asc nulls last
        ) as event_rank
    from {{ input_table('raw_consent_events') }} as events
    inner join removed_users
        on events.user_id = removed_users.user_id
    where
        events.occurred_at <= {{ as_of() }}
        and events.recorded_at <= {{ as_of() }}
),

serving as (
    select list_id, advertiser_id
    from {{ ref('release_audiences') }}
    where list_status = 'serving'
),

suppressing_advertisers as (
    select distinct {{ trim_white_space('advertiser_id') }} as advertiser_id
    from {{ input_table('raw_suppressions') }}
    where added_at is null or added_at <= {{ as_of() }}
),

-- of each member before: whether the gate refuses some contact now, and whether the end has come
contacts_before as (
    select
        previous_members.list_kind,
        previous_members.list_id,
        previous_members.advertiser_id,
        previous_members.user_id,
        max(case when gate.contact_id is null then 1 else 0 end) = 1 as is_refused,
        max(case when previous_members.valid_until <= {{ as_of() }} then 1 else 0 end) = 1 as is_over
    from {{ ref('previous_members') }} as previous_members
    inner join {{ ref('list_kinds') }} as list_kinds
        on previous_members.list_kind = list_kinds.list_kind
    left join {{ ref('contacts_consented_for_ads') }} as gate
        on
            previous_members.contact_id = gate.contact_id
            and previous_members.user_id = gate.user_id
            and list_kinds.data_use = gate.data_use
    group by
        previous_members.list_kind, previous_members.list_id, previous_members.advertiser_id,
        previous_members.user_id
),

-- whoever was not delivered before has nothing to bear a reason out
judged as (
    select
        removals.list_kind,
        removals.list_id,
        removals.advertiser_id,
        removals.user_id,
        removals.reason,
        users.user_id is not null as is_there,
        delivered.user_id is not null as is_delivered,
        coalesce(events.status <> 'granted', false) as is_denied,
        coalesce(events.status = 'granted' and events.expires_at <= {{ as_of() }}, false) as has_run_out,
        serving.list_id is not null as is_serving,
        suppressing_advertisers.advertiser_id is not null as may_be_suppressed,
        contacts_before.is_refused,
        contacts_before.is_over
    from removals
    left join users
        on removals.user_id = users.user_id
    left join delivered
        on
            removals.list_id = delivered.list_id
            and removals.advertiser_id = delivered.advertiser_id
            and removals.user_id = delivered.user_id
    left join events
        on
            removals.user_id = events.user_id
            and removals.data_use = events.data_use
            and events.event_rank = 1
    left join serving
        on removals.list_id = serving.list_id and removals.advertiser_id = serving.advertiser_id
    left join suppressing_advertisers
        on {{ trim_white_space('removals.advertiser_id') }} = suppressing_advertisers.advertiser_id
    left join contacts_before
        on
            removals.list_kind = contacts_before.list_kind
            and removals.list_id = contacts_before.list_id
            and removals.advertiser_id = contacts_before.advertiser_id
            and removals.user_id = contacts_before.user_id
)

select list_kind, list_id, advertiser_id, user_id, reason
from judged
where
    is_delivered
    or not coalesce(
        case
            when reason = 'user_erased' then not is_there
            when not is_there then false
            when reason = 'consent_withdrawn' then is_denied
            when reason = 'suppressed' then is_refused or may_be_suppressed
            when reason in ('contact_removed', 'policy_changed') then is_refused
            when reason = 'expired' then has_run_out or is_over
            when reason = 'list_withdrawn' then not is_refused and not is_serving
            when reason = 'entry_removed' then not is_refused and is_serving
        end,
        false
    )
