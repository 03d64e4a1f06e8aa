{#
    What several invariants need and must not take from the models they check: contacts straight from
    the input, normalized here once more. Ends in `normalized_identifiers`, one row per raw contact, of
    the users in a relation.
#}
{% macro normalized_raw_contacts(users) %}
asked_users as (
    select distinct user_id
    from {{ users }}
),

-- of few users, so that these are found before anything is joined to them
asked_contacts as (
    select contacts.*
    from {{ input_table('raw_contacts') }} as contacts
    inner join asked_users
        on contacts.user_id = asked_users.user_id
),

raw_contacts as (
    select
        contacts.contact_id,
        contacts.user_id,
        contacts.channel,
        contacts.value,
        contacts.purpose,
        contacts.collected_at,
        contacts.verified_at,
        contacts.removed_at,
        users.country_code
    from asked_contacts as contacts
    left join {{ input_table('raw_users') }} as users
        on contacts.user_id = users.user_id
),

raw_addresses as (
    select *
    from raw_contacts
    where channel is null or channel <> 'phone'
),

raw_numbers as (
    select *
    from raw_contacts
    where channel = 'phone'
),

{{ normalize_identifiers(
    'raw_addresses', 'raw_numbers',
    'contact_id, user_id, channel, purpose, collected_at, verified_at, removed_at'
) }}
{% endmacro %}

{# Of the normalized raw contacts those that were given for protection, whatever became of them. #}
{% macro protective_contacts() %}
protective_contacts as (
    select normalized_identifiers.user_id, normalized_identifiers.block_key
    from normalized_identifiers
    left join {{ ref('purposes') }} as purposes
        on normalized_identifiers.purpose = purposes.purpose
    where
        (purposes.purpose is null or purposes.is_protective or not purposes.is_assignable)
        and (normalized_identifiers.collected_at is null or normalized_identifiers.collected_at <= {{ as_of() }})
)
{% endmacro %}

{# Suppressions straight from the input, normalized here once more: `normalized_identifiers`. #}
{% macro normalized_raw_suppressions() %}
raw_suppressions as (
    select
        suppression_id,
        {{ spelled_channel('value') }} as channel,
        value,
        nullif({{ trim_white_space('advertiser_id') }}, '') as advertiser_id,
        cast(null as varchar) as country_code
    from {{ input_table('raw_suppressions') }}
    where added_at is null or added_at <= {{ as_of() }}
),

raw_addresses as (
    select *
    from raw_suppressions
    where channel = 'email'
),

raw_numbers as (
    select *
    from raw_suppressions
    where channel = 'phone'
),

{{ normalize_identifiers('raw_addresses', 'raw_numbers', 'suppression_id, advertiser_id') }}
{% endmacro %}

{#
    Every block key that meets a contact of the relation (DESIGN 4.3), a row each, the same one more than
    once: written out, so that two sides meet by equality and not by a comparison of every row with every other.
#}
{% macro all_block_keys(relation, columns) %}
    {%- for key in ["block_key", without_leading('normalized_value', '+'), without_leading('national_number', '0'), without_leading('trunk_number', '0')] %}
    select {{ columns }}, {{ key }} as block_key
    from {{ relation }}
    {{ "union all" if not loop.last }}
    {%- endfor %}
{% endmacro %}
