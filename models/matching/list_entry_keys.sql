with ordered_list_uploads as (
    select upload_id, list_id, operation, uploaded_at, upload_position
    from {{ ref('ordered_list_uploads') }}
),

audience_lists as (
    select list_id, normalization_profile, is_hashed
    from {{ ref('stg_audience_lists') }}
),

list_entries as (
    select upload_id, row_number, channel, normalized_value, normalization_fault, hash_hex
    from {{ ref('normalized_list_entries') }}
),

normalization_profiles as (
    select normalization_profile, channel, rendering
    from {{ ref('normalization_profiles') }}
),

sentinel_hashes as (
    select match_key
    from {{ ref('sentinel_hashes') }}
),

rendered as (
    select
        ordered_list_uploads.list_id,
        ordered_list_uploads.upload_id,
        ordered_list_uploads.operation,
        ordered_list_uploads.uploaded_at,
        ordered_list_uploads.upload_position,
        list_entries.row_number,
        list_entries.channel,
        list_entries.normalized_value,
        list_entries.normalization_fault,
        list_entries.hash_hex,
        audience_lists.is_hashed,
        normalization_profiles.rendering,
        sentinel_hashes.match_key is not null as is_sentinel,
        {{ render_identifier('list_entries.normalized_value', 'normalization_profiles.rendering') }} as rendered_value
    from list_entries
    inner join ordered_list_uploads
        on list_entries.upload_id = ordered_list_uploads.upload_id
    inner join audience_lists
        on ordered_list_uploads.list_id = audience_lists.list_id
    left join normalization_profiles
        on
            audience_lists.normalization_profile = normalization_profiles.normalization_profile
            and list_entries.channel = normalization_profiles.channel
    left join sentinel_hashes
        on list_entries.hash_hex = sentinel_hashes.match_key
),

-- is_hashed is declared per list and checked both ways; nothing is ever hashed again
faulted as (
    select
        *,
        case
            when not is_hashed and hash_hex is not null then 'hash_in_plain_list'
            when is_hashed and hash_hex is null and normalized_value is not null then 'plain_in_hashed_list'
            when coalesce(is_hashed, true) and hash_hex is null then 'hash_format'
            when is_hashed and is_sentinel then 'sentinel_hash'
            when not is_hashed and normalization_fault <> 'unknown_channel' then normalization_fault
            when not is_hashed and channel = 'email' and rendered_value is null then 'invalid_email'
        end as entry_fault
    from rendered
),

keyed as (
    select
        list_id,
        upload_id,
        operation,
        uploaded_at,
        upload_position,
        row_number,
        channel,
        rendering,
        entry_fault,
        case
            when entry_fault is not null or rendering is null then null
            when is_hashed then hash_hex
            else {{ sha256_hex('rendered_value') }}
        end as match_key
    from faulted
)

select * from keyed
