-- The gate once more, straight from the raw inputs and as one conjunction in place of an ordered case: what
-- gate_admits_nobody_else and gate_admits_everybody_due hold the gate against

with purposes_in_use as (
    select purposes.purpose, list_kinds.data_use
    from {{ ref('purposes') }} as purposes
    cross join {{ ref('list_kinds') }} as list_kinds
    where
        purposes.is_assignable
        and purposes.is_usable_for_matching
        and purposes.purpose_class = 'advertising'
        and position(purposes.purpose || '.' in list_kinds.data_use || '.') = 1
),

active_adults as (
    select user_id, country_code
    from {{ input_table('raw_users') }}
    where account_status = 'active' and is_adult
),

-- given for the data use, verified and not removed
verified_contacts as (
    select
        contacts.contact_id,
        contacts.user_id,
        contacts.channel,
        contacts.value,
        active_adults.country_code,
        purposes_in_use.data_use
    from {{ input_table('raw_contacts') }} as contacts
    inner join purposes_in_use
        on contacts.purpose = purposes_in_use.purpose
    inner join active_adults
        on contacts.user_id = active_adults.user_id
    where
        contacts.collected_at <= {{ as_of() }}
        and contacts.verified_at <= {{ as_of() }}
        and (contacts.removed_at is null or contacts.removed_at > {{ as_of() }})
),

-- nobody else's consent is asked for
asked_users as (
    select distinct user_id, country_code
    from verified_contacts
),

known_consent_events as (
    select
        events.user_id,
        events.data_use,
        events.status,
        events.expires_at,
        rank() over (
            partition by events.user_id, events.data_use
            order by events.occurred_at desc, events.recorded_at desc
        ) as event_rank
    from {{ input_table('raw_consent_events') }} as events
    inner join {{ ref('list_kinds') }} as list_kinds
        on events.data_use = list_kinds.data_use
    inner join asked_users
        on events.user_id = asked_users.user_id
    where
        events.occurred_at <= {{ as_of() }}
        and events.recorded_at <= {{ as_of() }}
),

-- all events of the last moment must be grants, and the first of their ends must be still to come
granted as (
    select user_id, data_use
    from known_consent_events
    where event_rank = 1
    group by user_id, data_use
    having
        min(case when status = 'granted' then 1 else 0 end) = 1
        and coalesce(min(expires_at) > {{ as_of() }}, true)
),

opt_out_rules as (
    select country_code, data_use
    from {{ ref('consent_rules') }}
    where choice_model = 'opt_out'
),

-- by the user's own country, or by every country's row where it has none
opted_out_by_rule as (
    select asked_users.user_id, opt_out_rules.data_use
    from asked_users
    cross join opt_out_rules
    where
        asked_users.country_code = opt_out_rules.country_code
        or opt_out_rules.country_code = '*' and not exists (
            select 1 from {{ ref('consent_rules') }} as own_rules
            where
                own_rules.country_code = asked_users.country_code
                and own_rules.data_use = opt_out_rules.data_use
        )
),

consented as (
    select user_id, data_use
    from granted

    union all

    select opted_out_by_rule.user_id, opted_out_by_rule.data_use
    from opted_out_by_rule
    where not exists (
        select 1 from known_consent_events
        where
            known_consent_events.user_id = opted_out_by_rule.user_id
            and known_consent_events.data_use = opted_out_by_rule.data_use
    )
),

candidates as (
    select verified_contacts.*
    from verified_contacts
    inner join consented
        on
            verified_contacts.user_id = consented.user_id
            and verified_contacts.data_use = consented.data_use
),

candidate_users as (
    select distinct user_id, country_code
    from candidates
),

-- of each candidate's user what was given for protection, whatever became of it
protective_contacts as (
    select
        contacts.contact_id,
        contacts.user_id,
        {{ spelled_channel('contacts.value') }} as channel,
        contacts.value,
        candidate_users.country_code
    from {{ input_table('raw_contacts') }} as contacts
    inner join candidate_users
        on contacts.user_id = candidate_users.user_id
    left join {{ ref('purposes') }} as purposes
        on contacts.purpose = purposes.purpose
    where
        (purposes.purpose is null or purposes.is_protective or not purposes.is_assignable)
        and (contacts.collected_at is null or contacts.collected_at <= {{ as_of() }})
),

read_contacts as (
    select contact_id, user_id, channel, value, country_code, data_use
    from candidates

    union all

    select contact_id, user_id, channel, value, country_code, 'protection' as data_use
    from protective_contacts
),

addresses as (
    select *
    from read_contacts
    where channel is null or channel <> 'phone'
),

numbers as (
    select *
    from read_contacts
    where channel = 'phone'
),

{{ normalize_identifiers('addresses', 'numbers', 'contact_id, user_id, channel, data_use') }},

admissible as (
    select
        contact_id, user_id, channel, data_use, normalized_value, national_number, trunk_number, block_key
    from normalized_identifiers
    where data_use <> 'protection' and normalized_value is not null
),

holds as (
    select user_id, block_key
    from normalized_identifiers
    where
        data_use = 'protection'
        and not exists (
            select 1 from {{ ref('audience_policy') }} as settings
            where settings.setting = 'dual_purpose_policy' and settings.value = 'separate_collection'
        )
),

suppressions as (
    select block_key
    from {{ ref('stg_suppressions') }}
    where added_at is null or added_at <= {{ as_of() }}
),

admissible_block_keys as (
    {{ all_block_keys('admissible', 'contact_id, user_id') }}
),

refused as (
    select admissible_block_keys.contact_id
    from admissible_block_keys
    inner join holds
        on
            admissible_block_keys.user_id = holds.user_id
            and admissible_block_keys.block_key = holds.block_key

    union all

    select admissible_block_keys.contact_id
    from admissible_block_keys
    inner join suppressions
        on admissible_block_keys.block_key = suppressions.block_key
),

admitted as (
    select contact_id, user_id, normalized_value, data_use
    from admissible
    where not exists (
        select 1 from refused
        where refused.contact_id = admissible.contact_id
    )
)

select * from admitted
