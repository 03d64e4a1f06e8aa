-- A returned row is somebody who is delivered once the changes are applied, added or revised now or left
-- standing from before, and who by the raw inputs must have left: no such user any more, no active adult, or
-- no consent for the data use: the latest event known at as_of is no running grant. Where the rule is
-- opt_out, silence lets stay.

with membership_changes as (
    select list_kind, list_id, advertiser_id, user_id, change
    from {{ ref('release_membership_changes') }}
),

standing as (
    select previous_members.list_kind, previous_members.list_id, previous_members.advertiser_id,
        previous_members.user_id
    from {{ ref('previous_members') }} as previous_members
    where not exists (
        select 1 from membership_changes
        where
            membership_changes.list_kind = previous_members.list_kind
            and membership_changes.list_id = previous_members.list_id
            and membership_changes.advertiser_id = previous_members.advertiser_id
            and membership_changes.user_id = previous_members.user_id
            and membership_changes.change = 'remove'
    )

    union

    select list_kind, list_id, advertiser_id, user_id
    from membership_changes
    where change is distinct from 'remove'
),

standing_users as (
    select distinct user_id
    from standing
),

users as (
    select users.user_id, users.country_code
    from {{ input_table('raw_users') }} as users
    inner join standing_users
        on users.user_id = standing_users.user_id
    where users.account_status = 'active' and users.is_adult
),

events as (
    select events.user_id, events.data_use, events.status, events.occurred_at, events.recorded_at, events.expires_at
    from {{ input_table('raw_consent_events') }} as events
    inner join standing_users
        on events.user_id = standing_users.user_id
    where
        events.occurred_at <= {{ as_of() }}
        and events.recorded_at <= {{ as_of() }}
),

consented as (
    select grants.user_id, grants.data_use
    from events as grants
    where
        grants.status = 'granted'
        and (grants.expires_at is null or grants.expires_at > {{ as_of() }})
        and not exists (
            select 1 from events as later_events
            where
                later_events.user_id = grants.user_id
                and later_events.data_use = grants.data_use
                and (
                    later_events.occurred_at > grants.occurred_at
                    or later_events.occurred_at = grants.occurred_at
                    and (
                        later_events.recorded_at > grants.recorded_at
                        or later_events.recorded_at = grants.recorded_at
                        and later_events.status is distinct from 'granted'
                    )
                )
        )

    union

    select users.user_id, rules.data_use
    from users
    inner join {{ ref('consent_rules') }} as rules
        on users.country_code = rules.country_code and rules.choice_model = 'opt_out'
    where not exists (
        select 1 from events
        where events.user_id = users.user_id and events.data_use = rules.data_use
    )
)

select standing.list_kind, standing.list_id, standing.advertiser_id, standing.user_id
from standing
where not exists (
    select 1
    from {{ ref('list_kinds') }} as list_kinds
    inner join consented
        on list_kinds.data_use = consented.data_use
    inner join users
        on consented.user_id = users.user_id
    where
        list_kinds.list_kind = standing.list_kind
        and users.user_id = standing.user_id
)
