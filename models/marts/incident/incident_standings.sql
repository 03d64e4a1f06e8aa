-- The ungated match itself: every contact of every purpose against every entry. Keys of refused contacts
-- are made here, inside this query, and nowhere else; none is kept
with contacts as (
    select contact_id, channel, purpose_class, normalized_value, national_number, trunk_number, block_key
    from {{ ref('incident_contacts') }}
),

audience_lists as (
    select list_id, normalization_profile, is_hashed, membership_days
    from {{ input_table('raw_audience_lists') }}
),

normalization_profiles as (
    select normalization_profile, channel, rendering
    from {{ ref('normalization_profiles') }}
),

list_uploads as (
    select upload_id, list_id, operation, uploaded_at
    from {{ input_table('raw_list_uploads') }}
    where uploaded_at is null or uploaded_at <= {{ as_of() }}
),

list_entries as (
    select
        upload_id,
        channel,
        country_code,
        case
            when {{ matches('identifier', "'^[!-~]*$'") }} then identifier
            else {{ trim_white_space('identifier') }}
        end as value
    from {{ input_table('raw_list_entries') }}
),

-- an upload without a moment has no place in the order of the others
ordered_uploads as (
    select
        list_uploads.upload_id,
        list_uploads.list_id,
        list_uploads.operation,
        list_uploads.uploaded_at,
        min(case when list_uploads.operation in ('replace', 'remove_all') then list_uploads.uploaded_at end) over (
            partition by list_uploads.list_id, list_uploads.uploaded_at is null
            order by list_uploads.uploaded_at, list_uploads.upload_id
            rows between 1 following and unbounded following
        ) as emptied_at
    from list_uploads
),

read_entries as (
    select
        ordered_uploads.list_id,
        ordered_uploads.upload_id,
        ordered_uploads.operation,
        ordered_uploads.uploaded_at,
        ordered_uploads.emptied_at,
        audience_lists.normalization_profile,
        audience_lists.is_hashed,
        audience_lists.membership_days,
        list_entries.channel,
        list_entries.country_code,
        list_entries.value as written_value,
        case
            when {{ matches('list_entries.value', "'^[0-9A-Fa-f]{64}$'") }} then lower(list_entries.value)
            when {{ matches('list_entries.value', "'^[0-9A-Za-z+/]{42}[AEIMQUYcgkosw048]=$'") }}
                then {{ base64_to_hex('list_entries.value') }}
        end as hash_hex
    from list_entries
    inner join ordered_uploads
        on list_entries.upload_id = ordered_uploads.upload_id
    inner join audience_lists
        on ordered_uploads.list_id = audience_lists.list_id
),

-- a hash is not read as an address or a number
addresses as (
    select *, case when hash_hex is null then written_value end as value
    from read_entries
    where channel is null or channel <> 'phone'
),

numbers as (
    select *, case when hash_hex is null then written_value end as value
    from read_entries
    where channel = 'phone'
),

{{ normalize_identifiers(
    'addresses', 'numbers',
    'list_id, upload_id, operation, uploaded_at, emptied_at, normalization_profile, is_hashed, membership_days, channel, hash_hex'
) }},

rendered_entries as (
    select
        normalized_identifiers.*,
        normalization_profiles.rendering,
        {{ render_identifier('normalized_identifiers.normalized_value', 'normalization_profiles.rendering') }}
            as rendered_value
    from normalized_identifiers
    inner join normalization_profiles
        on
            normalized_identifiers.normalization_profile = normalization_profiles.normalization_profile
            and normalized_identifiers.channel = normalization_profiles.channel
),

-- is_hashed is declared per list and checked both ways; an entry counts once per upload
keyed_entries as (
    select distinct
        list_id,
        upload_id,
        operation,
        uploaded_at,
        emptied_at,
        membership_days,
        channel,
        rendering,
        case
            when is_hashed then hash_hex
            when not is_hashed and hash_hex is null then {{ sha256_hex('rendered_value') }}
        end as match_key
    from rendered_entries
),

ordered_entries as (
    select
        *,
        min(case when operation = 'remove' then uploaded_at end) over (
            partition by list_id, channel, match_key, uploaded_at is null
            order by uploaded_at, upload_id
            rows between 1 following and unbounded following
        ) as removed_at
    from keyed_entries
    where match_key is not null
),

-- DESIGN 4.4: what an upload added stands until the next one that empties the list or takes the key away,
-- or until its membership ends. Least passes over nulls, which are no end
additions as (
    select
        list_id,
        channel,
        rendering,
        match_key,
        uploaded_at as added_at,
        least(emptied_at, removed_at, {{ add_days('uploaded_at', 'membership_days') }}) as ends_at
    from ordered_entries
    where operation in ('append', 'replace')
),

renderings as (
    select distinct channel, rendering
    from normalization_profiles
),

rendered_contacts as (
    select
        contacts.contact_id,
        contacts.channel,
        contacts.purpose_class,
        renderings.rendering,
        {{ render_identifier('contacts.normalized_value', 'renderings.rendering') }} as rendered_value
    from contacts
    inner join renderings
        on contacts.channel = renderings.channel
),

contact_keys as (
    select
        contact_id,
        channel,
        purpose_class,
        rendering,
        {{ sha256_hex('rendered_value') }} as match_key
    from rendered_contacts
    where rendered_value is not null
),

agreeing as (
    select contact_keys.contact_id, additions.list_id, additions.added_at, additions.ends_at
    from contact_keys
    inner join additions
        on
            contact_keys.channel = additions.channel
            and contact_keys.rendering = additions.rendering
            and contact_keys.match_key = additions.match_key
),

-- what an old matcher of another profile or of wider spelling might have seen, or one that asked no list
-- whether it is hashed: for the replay alone, which asks after security contacts and needs no moment of these
security_contacts as (
    select contact_id, channel, normalized_value, national_number, trunk_number, block_key
    from contacts
    where purpose_class = 'security'
),

security_block_keys as (
    {{ meeting_block_keys('security_contacts', 'contact_id') }}
),

resembling as (
    select contact_keys.contact_id, normalized_identifiers.list_id
    from contact_keys
    inner join normalized_identifiers
        on
            contact_keys.channel = normalized_identifiers.channel
            and contact_keys.match_key = normalized_identifiers.hash_hex
    where
        contact_keys.purpose_class = 'security'
        and normalized_identifiers.operation in ('append', 'replace')

    union

    select security_block_keys.contact_id, normalized_identifiers.list_id
    from security_block_keys
    inner join normalized_identifiers
        on security_block_keys.block_key = normalized_identifiers.block_key
    where normalized_identifiers.operation in ('append', 'replace')
)

select contact_id, list_id, 'key' as agreement, added_at, ends_at
from agreeing
where added_at is null or ends_at is null or ends_at > added_at

union all

select
    resembling.contact_id,
    resembling.list_id,
    'spelling' as agreement,
    cast(null as timestamptz) as added_at,
    cast(null as timestamptz) as ends_at
from resembling
where not exists (
    select 1 from agreeing
    where
        agreeing.contact_id = resembling.contact_id
        and agreeing.list_id = resembling.list_id
)
