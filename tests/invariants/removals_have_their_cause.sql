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

events as (
    select user_id, data_use, status, expires_at,
        row_number() over (
            partition by user_id, data_use
            order by occurred_at desc, recorded_at desc,
                case when status = 'granted' then 1 else 0 end, expires_at nulls last
        ) as event_rank
    from {{ input_table('raw_consent_events') }}
    where
        occurred_at <= {{ as_of() }}
        and recorded_at <= {{ as_of() }}
),

judged as (
    select
        removals.*,
        exists (
            select 1 from {{ input_table('raw_users') }} as users
            where users.user_id = removals.user_id
        ) as is_there,
        exists (
            select 1 from delivered
            where
                delivered.list_id = removals.list_id
                and delivered.advertiser_id = removals.advertiser_id
                and delivered.user_id = removals.user_id
        ) as is_delivered,
        coalesce(events.status <> 'granted', false) as is_denied,
        coalesce(events.status = 'granted' and events.expires_at <= {{ as_of() }}, false) as has_run_out,
        exists (
            select 1 from {{ ref('release_audiences') }} as audiences
            where
                audiences.list_id = removals.list_id
                and audiences.advertiser_id = removals.advertiser_id
                and audiences.list_status = 'serving'
        ) as is_serving,
        exists (
            select 1 from {{ input_table('raw_suppressions') }} as suppressions
            where
                (suppressions.added_at is null or suppressions.added_at <= {{ as_of() }})
                and (
                    nullif({{ trim_white_space('suppressions.advertiser_id') }}, '') is null
                    or {{ trim_white_space('suppressions.advertiser_id') }}
                    = {{ trim_white_space('removals.advertiser_id') }}
                )
        ) as may_be_suppressed,
        exists (
            select 1 from {{ ref('previous_members') }} as before
            where
                before.list_kind = removals.list_kind
                and before.list_id = removals.list_id
                and before.advertiser_id = removals.advertiser_id
                and before.user_id = removals.user_id
                and not exists (
                    select 1 from {{ ref('contacts_consented_for_ads') }} as gate
                    where
                        gate.contact_id = before.contact_id
                        and gate.user_id = before.user_id
                        and gate.data_use = removals.data_use
                )
        ) as is_refused_by_the_gate,
        exists (
            select 1 from {{ ref('previous_members') }} as before
            where
                before.list_kind = removals.list_kind
                and before.list_id = removals.list_id
                and before.advertiser_id = removals.advertiser_id
                and before.user_id = removals.user_id
                and before.valid_until <= {{ as_of() }}
        ) as is_over
    from removals
    left join events
        on
            removals.user_id = events.user_id
            and removals.data_use = events.data_use
            and events.event_rank = 1
)

select list_kind, list_id, advertiser_id, user_id, reason
from judged
where
    is_delivered
    or case
        when reason = 'user_erased' then is_there
        when not is_there then true
        when reason = 'consent_withdrawn' then not is_denied
        when reason = 'suppressed' then not may_be_suppressed
        when reason in ('contact_removed', 'policy_changed') then not is_refused_by_the_gate
        when reason = 'expired' then not (has_run_out or is_over)
        when reason = 'list_withdrawn' then is_refused_by_the_gate or is_serving
        when reason = 'entry_removed' then is_refused_by_the_gate or not is_serving
        else true
    end
