with legacy_matches as (
    select match_id, list_id, user_id, contact_id, matched_at
    from {{ input_table('raw_legacy_matches') }}
    where matched_at <= {{ as_of() }}
),

contacts as (
    select contact_id, user_id, channel, purpose, purpose_class, collected_at
    from {{ ref('incident_contacts') }}
),

audience_lists as (
    select list_id, list_kind
    from {{ input_table('raw_audience_lists') }}
),

list_kinds as (
    select list_kind
    from {{ ref('list_kinds') }}
),

standings as (
    select contact_id, list_id, added_at, ends_at
    from {{ ref('incident_standings') }}
    where added_at is not null
),

permissions as (
    select list_id, user_id, contact_id, permitted_from, permitted_until
    from {{ ref('incident_permissions') }}
),

-- what was so at the moment of the match, that very moment included
standing_matches as (
    select distinct legacy_matches.match_id
    from legacy_matches
    inner join standings
        on
            legacy_matches.contact_id = standings.contact_id
            and legacy_matches.list_id = standings.list_id
            and legacy_matches.matched_at >= standings.added_at
    where standings.ends_at is null or standings.ends_at > legacy_matches.matched_at
),

permitted_matches as (
    select
        legacy_matches.match_id,
        bool_or(permissions.contact_id = legacy_matches.contact_id) as is_by_own_contact
    from legacy_matches
    inner join permissions
        on
            legacy_matches.user_id = permissions.user_id
            and legacy_matches.list_id = permissions.list_id
            and legacy_matches.matched_at >= permissions.permitted_from
    where permissions.permitted_until is null or permissions.permitted_until > legacy_matches.matched_at
    group by legacy_matches.match_id
),

known as (
    select
        legacy_matches.match_id,
        legacy_matches.list_id,
        case
            when audience_lists.list_id is null then null
            else coalesce(list_kinds.list_kind, 'unknown')
        end as list_kind,
        legacy_matches.user_id,
        legacy_matches.contact_id,
        contacts.channel,
        contacts.purpose,
        contacts.purpose_class,
        legacy_matches.matched_at,
        case
            when contacts.contact_id is null then 'contact_unknown'
            when audience_lists.list_id is null then 'list_unknown'
            when legacy_matches.user_id is null or contacts.user_id <> legacy_matches.user_id
                then 'contact_of_another_user'
            when contacts.collected_at is null or contacts.collected_at > legacy_matches.matched_at then 'not_collected'
        end as unknown_reason,
        permitted_matches.is_by_own_contact,
        standing_matches.match_id is not null as is_standing
    from legacy_matches
    left join contacts
        on legacy_matches.contact_id = contacts.contact_id
    left join audience_lists
        on legacy_matches.list_id = audience_lists.list_id
    left join list_kinds
        on audience_lists.list_kind = list_kinds.list_kind
    left join standing_matches
        on legacy_matches.match_id = standing_matches.match_id
    left join permitted_matches
        on legacy_matches.match_id = permitted_matches.match_id
),

-- DESIGN 4.6: the first that applies
classed as (
    select
        *,
        case
            when unknown_reason is not null then 'unexplained'
            when is_by_own_contact then 'permitted'
            when is_by_own_contact is not null then 'also_permitted'
            when not is_standing then 'unexplained'
            when purpose_class = 'security' then 'security_only'
            else 'other_refused'
        end as match_class
    from known
)

select
    match_id,
    match_class,
    case when match_class = 'unexplained' then coalesce(unknown_reason, 'not_on_list') end as unexplained_reason,
    list_id,
    list_kind,
    user_id,
    contact_id,
    channel,
    purpose,
    matched_at
from classed
