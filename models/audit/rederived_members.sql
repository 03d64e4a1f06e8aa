-- The members once more, from the gate and the raw lists, by another way than the matching models: the fold
-- asks for each added row whether a later upload undid it, keys are rendered per profile and not per rendering

with raw_lists as (
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
        and not {{ rederived_sensitivity('lists.name') }}
),

unrefused_audiences as (
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
        and {{ rederived_permission('licences.allowed_data_uses', 'raw_lists.data_use') }}
),

willing_advertisers as (
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
        entries.channel,
        entries.identifier,
        entries.country_code,
        uploads.list_id,
        uploads.upload_id,
        uploads.operation,
        uploads.uploaded_at,
        lists.normalization_profile,
        lists.is_hashed
    from {{ input_table('raw_list_entries') }} as entries
    inner join raw_uploads as uploads
        on entries.upload_id = uploads.upload_id
    inner join raw_lists as lists
        on uploads.list_id = lists.list_id
),

trimmed_entries as (
    select
        *,
        case
            when {{ matches('identifier', "'^[!-~]*$'") }} then identifier
            else {{ trim_white_space('identifier') }}
        end as value
    from raw_entries
),

-- an identifier that reads as a hash is one, whatever the list says of itself; by its length first, since a
-- pattern that counts so far is slow
read_entries as (
    select
        *,
        case length(value)
            when 64 then case when {{ matches('value', "'^[0-9A-Fa-f]+$'") }} then lower(value) end
            when 44 then case
                when {{ matches('value', "'^[0-9A-Za-z+/]+[AEIMQUYcgkosw048]=$'") }} then {{ base64_to_hex('value') }}
            end
        end as hash_hex
    from trimmed_entries
),

hashed_keys as (
    select
        list_id, upload_id, operation, uploaded_at, normalization_profile, channel,
        hash_hex as match_key
    from read_entries
    where is_hashed
),

plain_entries as (
    select *
    from read_entries
    where not is_hashed and hash_hex is null
),

addresses as (
    select *
    from plain_entries
    where channel is null or channel <> 'phone'
),

numbers as (
    select *
    from plain_entries
    where channel = 'phone'
),

{{ normalize_identifiers(
    'addresses', 'numbers',
    'list_id, upload_id, operation, uploaded_at, normalization_profile, channel'
) }},

rendered_entries as (
    select
        list_id, upload_id, operation, uploaded_at, normalization_profile, channel,
        {{ rendered_for_profile('normalized_value') }} as rendered_value
    from normalized_identifiers
),

-- what may be equal on both sides: the hash a sender made, or the text that the profile would hash
comparable_entries as (
    select list_id, upload_id, operation, uploaded_at, normalization_profile, channel, match_key
    from hashed_keys

    union all

    select
        list_id, upload_id, operation, uploaded_at, normalization_profile, channel,
        {{ sha256_hex('rendered_value') }} as match_key
    from rendered_entries
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

profiles as (
    select distinct normalization_profile
    from raw_lists
),

gated_values as (
    select distinct contact_id, channel, normalized_value
    from {{ ref('contacts_consented_for_ads') }}
),

rendered_values as (
    select
        gated_values.contact_id, gated_values.channel, profiles.normalization_profile,
        {{ rendered_for_profile('gated_values.normalized_value') }} as rendered_value
    from gated_values
    cross join profiles
),

gated_keys as {{ computed_once() }} (
    select contact_id, channel, normalization_profile, {{ sha256_hex('rendered_value') }} as match_key
    from rendered_values
),

-- few rows match: what undid them, and how long they count, is asked of these alone
matched_entries as (
    select
        comparable_entries.list_id, comparable_entries.channel, comparable_entries.match_key,
        comparable_entries.uploaded_at, comparable_entries.upload_id, gated_keys.contact_id
    from comparable_entries
    inner join gated_keys
        on
            comparable_entries.channel = gated_keys.channel
            and comparable_entries.normalization_profile = gated_keys.normalization_profile
            and comparable_entries.match_key = gated_keys.match_key
    where comparable_entries.operation in ('append', 'replace')
),

standing_entries as (
    select
        matched_entries.list_id, raw_lists.data_use, matched_entries.uploaded_at, matched_entries.upload_id,
        matched_entries.contact_id
    from matched_entries
    inner join raw_lists
        on matched_entries.list_id = raw_lists.list_id
    where
        not exists (
            select 1 from emptying_uploads
            where
                emptying_uploads.list_id = matched_entries.list_id
                and (emptying_uploads.uploaded_at, emptying_uploads.upload_id)
                > (matched_entries.uploaded_at, matched_entries.upload_id)
        )
        and not exists (
            select 1 from removed_keys
            where
                removed_keys.list_id = matched_entries.list_id
                and removed_keys.channel = matched_entries.channel
                and removed_keys.match_key = matched_entries.match_key
                and (removed_keys.uploaded_at, removed_keys.upload_id)
                > (matched_entries.uploaded_at, matched_entries.upload_id)
        )
        and (
            raw_lists.membership_days is null
            or {{ add_days('matched_entries.uploaded_at', 'raw_lists.membership_days') }} > {{ as_of() }}
        )
),

matched_uploads as (
    select
        list_id, data_use, contact_id, upload_id,
        row_number() over (
            partition by list_id, data_use, contact_id
            order by uploaded_at desc, upload_id desc
        ) as recency
    from standing_entries
),

matched_values as (
    select list_id, data_use, contact_id, upload_id
    from matched_uploads
    where recency = 1
),

matched_contacts as (
    select
        matched_values.list_id, matched_values.upload_id, gate.contact_id, gate.user_id, gate.normalized_value,
        gate.national_number, gate.trunk_number, gate.block_key
    from matched_values
    inner join {{ ref('contacts_consented_for_ads') }} as gate
        on matched_values.contact_id = gate.contact_id and matched_values.data_use = gate.data_use
),

matched_block_keys as (
    {{ all_block_keys('matched_contacts', 'contact_id') }}
),

suppressed_contacts as (
    select suppressions.advertiser_id, matched_block_keys.contact_id
    from {{ ref('stg_advertiser_suppressions') }} as suppressions
    inner join matched_block_keys
        on suppressions.block_key = matched_block_keys.block_key
    where suppressions.added_at is null or suppressions.added_at <= {{ as_of() }}
),

members as (
    select
        unrefused_audiences.list_id, unrefused_audiences.advertiser_id, matched_contacts.user_id,
        matched_contacts.contact_id, matched_contacts.upload_id
    from matched_contacts
    inner join unrefused_audiences
        on matched_contacts.list_id = unrefused_audiences.list_id
    inner join willing_advertisers
        on unrefused_audiences.advertiser_id = willing_advertisers.advertiser_id
    where not exists (
        select 1 from suppressed_contacts
        where
            suppressed_contacts.advertiser_id = {{ trim_white_space('unrefused_audiences.advertiser_id') }}
            and suppressed_contacts.contact_id = matched_contacts.contact_id
    )
)

select * from members
