{#
    The members once more, from the gate and the raw lists, by another way than the matching models:
    the fold asks for each added row whether a later upload undid it, keys are rendered per profile and
    not per rendering. Ends in `rederived_members`: list_id, advertiser_id, user_id, contact_id.
#}
{% macro rederived_members() %}
raw_lists as (
    select
        lists.list_id,
        lists.list_kind,
        list_kinds.data_use,
        lists.advertiser_id,
        lists.partner_id,
        lists.normalization_profile,
        lists.is_hashed,
        lists.membership_days
    from {{ input_table('raw_audience_lists') }} as lists
    inner join {{ ref('list_kinds') }} as list_kinds
        on lists.list_kind = list_kinds.list_kind
    where
        lists.created_at <= {{ as_of() }}
        and lists.lawful_basis_attested_at <= {{ as_of() }}
        and (lists.expires_at is null or lists.expires_at > {{ as_of() }})
),

rederived_audiences as (
    select raw_lists.list_id, raw_lists.advertiser_id
    from raw_lists
    where raw_lists.list_kind = 'tailored'

    union

    select raw_lists.list_id, licences.advertiser_id
    from raw_lists
    inner join {{ input_table('raw_partner_licences') }} as licences
        on raw_lists.list_id = licences.list_id and raw_lists.partner_id = licences.partner_id
    inner join {{ input_table('raw_partners') }} as partners
        on raw_lists.partner_id = partners.partner_id and partners.status = 'active'
    where
        raw_lists.list_kind = 'partner'
        and licences.starts_at <= {{ as_of() }}
        and (licences.ends_at is null or licences.ends_at > {{ as_of() }})
        and (licences.revoked_at is null or licences.revoked_at > {{ as_of() }})
),

rederived_advertisers as (
    select advertiser_id
    from {{ input_table('raw_advertisers') }}
    where status = 'active' and terms_accepted_at <= {{ as_of() }}
),

raw_uploads as (
    select upload_id, list_id, operation, uploaded_at
    from {{ input_table('raw_list_uploads') }}
    where uploaded_at <= {{ as_of() }}
),

raw_entries as (
    select
        entries.upload_id,
        entries.channel,
        entries.identifier as value,
        {{ trim_white_space('entries.identifier') }} as trimmed_value,
        entries.country_code,
        uploads.list_id,
        uploads.operation,
        uploads.uploaded_at,
        lists.normalization_profile,
        lists.is_hashed,
        lists.membership_days,
        lists.data_use
    from {{ input_table('raw_list_entries') }} as entries
    inner join raw_uploads as uploads
        on entries.upload_id = uploads.upload_id
    inner join raw_lists as lists
        on uploads.list_id = lists.list_id
),

raw_addresses as (
    select *
    from raw_entries
    where channel is null or channel <> 'phone'
),

raw_numbers as (
    select *
    from raw_entries
    where channel = 'phone'
),

{{ normalize_identifiers(
    'raw_addresses', 'raw_numbers',
    'list_id, upload_id, operation, uploaded_at, normalization_profile, is_hashed, membership_days, data_use,'
    ~ ' channel, trimmed_value'
) }},

-- what may be equal on both sides: the hash a sender made, or the text that the profile would hash
comparable_entries as (
    select
        list_id, upload_id, operation, uploaded_at, normalization_profile, membership_days, data_use, channel,
        case
            when is_hashed then case
                when length(trimmed_value) = 64 then lower(trimmed_value)
                when {{ matches('trimmed_value', "'^[0-9A-Za-z+/]{42}[AEIMQUYcgkosw048]=$'") }} then {{ base64_to_hex('trimmed_value') }}
            end
            when {{ matches('trimmed_value', "'^[0-9A-Fa-f]{64}$|^[0-9A-Za-z+/]{42}[AEIMQUYcgkosw048]=$'") }} then null
            else {{ sha256_hex(rendered_for_profile('normalized_value')) }}
        end as match_key
    from normalized_identifiers
),

removed_keys as (
    select list_id, uploaded_at, upload_id, channel, match_key
    from comparable_entries
    where operation = 'remove'
),

emptying_uploads as (
    select list_id, uploaded_at, upload_id
    from raw_uploads
    where operation in ('replace', 'remove_all')
),

standing_entries as (
    select distinct
        comparable_entries.list_id, comparable_entries.data_use, comparable_entries.normalization_profile,
        comparable_entries.channel, comparable_entries.match_key
    from comparable_entries
    where
        comparable_entries.operation in ('append', 'replace')
        and comparable_entries.match_key is not null
        and not exists (
            select 1 from emptying_uploads
            where
                emptying_uploads.list_id = comparable_entries.list_id
                and (emptying_uploads.uploaded_at, emptying_uploads.upload_id)
                > (comparable_entries.uploaded_at, comparable_entries.upload_id)
        )
        and not exists (
            select 1 from removed_keys
            where
                removed_keys.list_id = comparable_entries.list_id
                and removed_keys.channel = comparable_entries.channel
                and removed_keys.match_key = comparable_entries.match_key
                and (removed_keys.uploaded_at, removed_keys.upload_id)
                > (comparable_entries.uploaded_at, comparable_entries.upload_id)
        )
        and (
            comparable_entries.membership_days is null
            or {{ add_days('comparable_entries.uploaded_at', 'comparable_entries.membership_days') }} > {{ as_of() }}
        )
),

profiles as (
    select distinct normalization_profile
    from raw_lists
),

gated_contacts as (
    select
        gate.contact_id, gate.user_id, gate.channel, gate.data_use, gate.normalized_value,
        gate.national_number, gate.trunk_number, gate.block_key, profiles.normalization_profile
    from {{ ref('contacts_consented_for_ads') }} as gate
    cross join profiles
),

gated_keys as (
    select
        contact_id, user_id, channel, data_use, normalized_value, national_number, trunk_number, block_key,
        normalization_profile,
        {{ sha256_hex(rendered_for_profile('normalized_value')) }} as match_key
    from gated_contacts
),

gated_block_keys as (
    {{ all_block_keys('gated_keys', 'contact_id') }}
),

suppressed_contacts as (
    select suppressions.advertiser_id, gated_block_keys.contact_id
    from {{ ref('stg_advertiser_suppressions') }} as suppressions
    inner join gated_block_keys
        on suppressions.block_key = gated_block_keys.block_key
    where suppressions.added_at is null or suppressions.added_at <= {{ as_of() }}
),

rederived_members as (
    select distinct
        rederived_audiences.list_id, rederived_audiences.advertiser_id, gated_keys.user_id, gated_keys.contact_id
    from standing_entries
    inner join gated_keys
        on
            standing_entries.channel = gated_keys.channel
            and standing_entries.data_use = gated_keys.data_use
            and standing_entries.normalization_profile = gated_keys.normalization_profile
            and standing_entries.match_key = gated_keys.match_key
    inner join rederived_audiences
        on standing_entries.list_id = rederived_audiences.list_id
    inner join rederived_advertisers
        on rederived_audiences.advertiser_id = rederived_advertisers.advertiser_id
    where not exists (
        select 1 from suppressed_contacts
        where
            suppressed_contacts.advertiser_id = {{ trim_white_space('rederived_audiences.advertiser_id') }}
            and suppressed_contacts.contact_id = gated_keys.contact_id
    )
)
{% endmacro %}

{# What a profile hashes, written out per profile (DESIGN 4.2); needs channel and normalization_profile. #}
{% macro rendered_for_profile(value) -%}
    case
        when channel = 'phone' and normalization_profile = 'meta' then ltrim({{ value }}, '+')
        when channel = 'phone' and normalization_profile in ('x', 'google', 'uid2') then {{ value }}
        when normalization_profile in ('x', 'meta') then lower({{ value }})
        when normalization_profile = 'google' and {{ matches(value, "'@g(oogle)?mail[.]com$'") }}
            then {{ folded_rest("lower(" ~ value ~ ")") }}
        when normalization_profile = 'google' then lower({{ value }})
        when normalization_profile = 'uid2' and {{ matches(value, "'@gmail[.]com$'") }} then {{ folded_rest(value) }}
        when normalization_profile = 'uid2' then {{ value }}
    end
{%- endmacro %}

{% macro folded_rest(address) -%}
    nullif(replace({{ replace_matches("split_part(" ~ address ~ ", '@', 1)", "'[+].*$'", "''") }}, '.', ''), '')
        || '@' || split_part({{ address }}, '@', 2)
{%- endmacro %}
