{#
    The gate once more, straight from the raw inputs and as one conjunction in place of an ordered case:
    what the tests gate_admits_nobody_else and gate_admits_everybody_due hold the gate against. Ends in
    `rederived_gate`: contact_id, user_id, normalized_value, data_use.
#}
{% macro rederived_gate() %}
{{ normalized_raw_contacts() }},

rederived_purposes as (
    select purposes.purpose, purposes.is_protective, list_kinds.data_use
    from {{ ref('purposes') }} as purposes
    cross join {{ ref('list_kinds') }} as list_kinds
    where
        purposes.is_assignable
        and purposes.is_usable_for_matching
        and purposes.purpose_class = 'advertising'
        and position(purposes.purpose || '.' in list_kinds.data_use || '.') = 1
),

rederived_users as (
    select user_id, country_code
    from {{ input_table('raw_users') }}
    where account_status = 'active' and is_adult
),

known_consent_events as (
    select
        user_id,
        data_use,
        status,
        occurred_at,
        recorded_at,
        expires_at
    from {{ input_table('raw_consent_events') }}
    where
        occurred_at <= {{ as_of() }}
        and recorded_at <= {{ as_of() }}
),

-- all events of the last moment must be grants, and the first of their ends must be still to come
last_occurred as (
    select user_id, data_use, max(occurred_at) as occurred_at
    from known_consent_events
    group by user_id, data_use
),

last_recorded as (
    select known_consent_events.user_id, known_consent_events.data_use,
        max(known_consent_events.occurred_at) as occurred_at,
        max(known_consent_events.recorded_at) as recorded_at
    from known_consent_events
    inner join last_occurred
        on
            known_consent_events.user_id = last_occurred.user_id
            and known_consent_events.data_use = last_occurred.data_use
            and known_consent_events.occurred_at = last_occurred.occurred_at
    group by known_consent_events.user_id, known_consent_events.data_use
),

rederived_consents as (
    select known_consent_events.user_id, known_consent_events.data_use
    from known_consent_events
    inner join last_recorded
        on
            known_consent_events.user_id = last_recorded.user_id
            and known_consent_events.data_use = last_recorded.data_use
            and known_consent_events.occurred_at = last_recorded.occurred_at
            and known_consent_events.recorded_at = last_recorded.recorded_at
    group by known_consent_events.user_id, known_consent_events.data_use
    having
        min(case when known_consent_events.status = 'granted' then 1 else 0 end) = 1
        and coalesce(min(known_consent_events.expires_at) > {{ as_of() }}, true)

    union all

    -- opt_out by the user's own country, or by every country's row where it has none
    select rederived_users.user_id, list_kinds.data_use
    from rederived_users
    cross join {{ ref('list_kinds') }} as list_kinds
    inner join {{ ref('consent_rules') }} as rules
        on
            list_kinds.data_use = rules.data_use
            and rules.choice_model = 'opt_out'
            and (
                rules.country_code = rederived_users.country_code
                or rules.country_code = '*' and not exists (
                    select 1 from {{ ref('consent_rules') }} as own_rules
                    where
                        own_rules.country_code = rederived_users.country_code
                        and own_rules.data_use = list_kinds.data_use
                )
            )
    where not exists (
        select 1 from known_consent_events
        where
            known_consent_events.user_id = rederived_users.user_id
            and known_consent_events.data_use = list_kinds.data_use
    )
),

{{ protective_contacts() }},

rederived_holds as (
    select user_id, block_key
    from protective_contacts
    where
        not exists (
            select 1 from {{ ref('audience_policy') }} as policy
            where policy.setting = 'dual_purpose_policy' and policy.value = 'separate_collection'
        )
),

rederived_suppressions as (
    select block_key
    from {{ ref('stg_suppressions') }}
    where added_at is null or added_at <= {{ as_of() }}
),

rederived_candidates as (
    select
        normalized_identifiers.contact_id,
        normalized_identifiers.user_id,
        normalized_identifiers.channel,
        normalized_identifiers.normalized_value,
        normalized_identifiers.national_number,
        normalized_identifiers.trunk_number,
        normalized_identifiers.block_key,
        rederived_purposes.data_use
    from normalized_identifiers
    inner join rederived_purposes
        on normalized_identifiers.purpose = rederived_purposes.purpose
    inner join rederived_users
        on normalized_identifiers.user_id = rederived_users.user_id
    inner join rederived_consents
        on
            normalized_identifiers.user_id = rederived_consents.user_id
            and rederived_purposes.data_use = rederived_consents.data_use
    where
        normalized_identifiers.collected_at <= {{ as_of() }}
        and normalized_identifiers.verified_at <= {{ as_of() }}
        and (normalized_identifiers.removed_at is null or normalized_identifiers.removed_at > {{ as_of() }})
        and normalized_identifiers.normalized_value is not null
),

candidate_block_keys as (
    {{ all_block_keys('rederived_candidates', 'contact_id, user_id') }}
),

refused_candidates as (
    select candidate_block_keys.contact_id
    from candidate_block_keys
    inner join rederived_holds
        on
            candidate_block_keys.user_id = rederived_holds.user_id
            and candidate_block_keys.block_key = rederived_holds.block_key

    union all

    select candidate_block_keys.contact_id
    from candidate_block_keys
    inner join rederived_suppressions
        on candidate_block_keys.block_key = rederived_suppressions.block_key
),

rederived_gate as (
    select distinct contact_id, user_id, normalized_value, data_use
    from rederived_candidates
    where not exists (
        select 1 from refused_candidates
        where refused_candidates.contact_id = rederived_candidates.contact_id
    )
)
{% endmacro %}
