{#
    Tests of the incident assessment (DESIGN 4.6). They are generic, each for one model, because a model that is
    switched off takes such a test with it.
#}

{#
    Fails with one row per match of the log up to as_of without exactly one class, and per class of no such
    match.
#}
{% test every_logged_match_has_one_class(model) %}
with logged as (
    select match_id
    from {{ input_table('raw_legacy_matches') }}
    where matched_at <= {{ as_of() }}
),

counted as (
    select match_id, 1 as logged, 0 as classed
    from logged

    union all

    select match_id, 0 as logged, 1 as classed
    from {{ model }}
)

select match_id
from counted
group by match_id
having sum(logged) <> 1 or sum(classed) <> 1
{% endtest %}

{#
    Fails with one row per security_only match of a user whom the replay, which does not read the log, leaves out
    of its upper bound on that list.
#}
{% test affected_users_are_within_the_bounds(model, matches) %}
select matches.match_id
from {{ matches }} as matches
where
    matches.match_class = 'security_only'
    and not exists (
        select 1 from {{ model }} as replay
        where replay.user_id = matches.user_id and replay.list_id = matches.list_id
    )
{% endtest %}

{#
    Fails with one row per user and list in the bounds without a security contact, or on a list without an
    added row, so that counting everybody is no way to pass.
#}
{% test replay_rests_on_security_contacts(model) %}
select replay.user_id, replay.list_id
from {{ model }} as replay
where
    not exists (
        select 1 from {{ input_table('raw_contacts') }} as contacts
        inner join {{ ref('purposes') }} as purposes
            on contacts.purpose = purposes.purpose
        where contacts.user_id = replay.user_id and purposes.purpose_class = 'security'
    )
    or not exists (
        select 1 from {{ input_table('raw_list_uploads') }} as uploads
        inner join {{ input_table('raw_list_entries') }} as entries
            on uploads.upload_id = entries.upload_id
        where uploads.list_id = replay.list_id and uploads.operation in ('append', 'replace')
    )
{% endtest %}
