with standings as (
    select contact_id, list_id, added_at, ends_at
    from {{ ref('incident_standings') }}
    where added_at is not null
),

acceptances as (
    select contact_id, user_id, data_use, accepted_from, accepted_until
    from {{ ref('incident_acceptances') }}
),

audience_lists as (
    select list_id, list_kind
    from {{ input_table('raw_audience_lists') }}
),

list_kinds as (
    select list_kind, data_use
    from {{ ref('list_kinds') }}
),

-- a list of an unknown kind has no data use, so nothing is permitted on it
permitted as (
    select
        standings.list_id,
        acceptances.user_id,
        standings.contact_id,
        greatest(standings.added_at, acceptances.accepted_from) as permitted_from,
        least(standings.ends_at, acceptances.accepted_until) as permitted_until
    from standings
    inner join audience_lists
        on standings.list_id = audience_lists.list_id
    inner join list_kinds
        on audience_lists.list_kind = list_kinds.list_kind
    inner join acceptances
        on
            standings.contact_id = acceptances.contact_id
            and list_kinds.data_use = acceptances.data_use
)

select list_id, user_id, contact_id, permitted_from, permitted_until
from permitted
where permitted_until is null or permitted_until > permitted_from
