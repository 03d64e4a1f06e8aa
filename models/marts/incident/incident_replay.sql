-- Where no log was kept: who would have a security_only match, had the old matcher looked at any moment.
-- Everything here comes from uploads and contacts; the log is not read
with standings as (
    select contact_id, list_id, agreement, added_at, ends_at
    from {{ ref('incident_standings') }}
),

security_contacts as (
    select contact_id, user_id, collected_at, verified_at, removed_at
    from {{ ref('incident_contacts') }}
    where
        purpose_class = 'security'
        and (collected_at is null or collected_at <= {{ as_of() }})
),

permissions as (
    select list_id, user_id, permitted_from, permitted_until
    from {{ ref('incident_permissions') }}
),

meetings as (
    select
        security_contacts.contact_id,
        security_contacts.user_id,
        security_contacts.collected_at,
        security_contacts.verified_at,
        security_contacts.removed_at,
        standings.list_id,
        standings.agreement,
        standings.added_at,
        standings.ends_at
    from security_contacts
    inner join standings
        on security_contacts.contact_id = standings.contact_id
),

dated_meetings as (
    select *
    from meetings
    where agreement = 'key' and added_at is not null and collected_at is not null
),

-- what is known of a match changes only when the two come together, when the contact is verified or removed,
-- and when what permitted the user on this list ends: of these moments one is security_only, if any is
turning_points as (
    select *, greatest(added_at, collected_at) as looked_at
    from dated_meetings

    union all

    select *, verified_at as looked_at
    from dated_meetings

    union all

    select *, removed_at as looked_at
    from dated_meetings

    union all

    select dated_meetings.*, permissions.permitted_until as looked_at
    from dated_meetings
    inner join permissions
        on
            dated_meetings.user_id = permissions.user_id
            and dated_meetings.list_id = permissions.list_id
),

looks as (
    select *
    from turning_points
    where
        looked_at >= added_at
        and looked_at >= collected_at
        and looked_at <= {{ as_of() }}
        and (ends_at is null or ends_at > looked_at)
),

security_only_looks as (
    select *
    from looks
    where not exists (
        select 1 from permissions
        where
            permissions.user_id = looks.user_id
            and permissions.list_id = looks.list_id
            and permissions.permitted_from <= looks.looked_at
            and (permissions.permitted_until is null or permissions.permitted_until > looks.looked_at)
    )
),

-- how sure it is that the old matcher looked at that moment and at that contact
reasoned as (
    select
        user_id,
        list_id,
        case
            when removed_at <= looked_at then 'removed'
            when verified_at is null or verified_at > looked_at then 'not_verified'
            when looked_at > added_at then 'between_uploads'
            else 'at_upload'
        end as reason
    from security_only_looks

    union all

    select
        user_id,
        list_id,
        case when agreement = 'key' then 'undated' else 'spelled_otherwise' end as reason
    from meetings
    where agreement = 'spelling' or added_at is null or collected_at is null
),

ranked as (
    select
        user_id,
        list_id,
        min(case reason
            when 'at_upload' then 1
            when 'between_uploads' then 2
            when 'not_verified' then 3
            when 'removed' then 4
            when 'undated' then 5
            when 'spelled_otherwise' then 6
        end) as reason_rank
    from reasoned
    group by user_id, list_id
)

select
    user_id,
    list_id,
    case reason_rank
        when 1 then 'at_upload'
        when 2 then 'between_uploads'
        when 3 then 'not_verified'
        when 4 then 'removed'
        when 5 then 'undated'
        when 6 then 'spelled_otherwise'
    end as reason,
    cast(reason_rank as integer) as reason_rank,
    reason_rank = 1 as is_lower_bound
from ranked
