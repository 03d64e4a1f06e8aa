with source as (
    select upload_id, row_number, channel, identifier, country_code
    from {{ input_table('raw_list_entries') }}
),

renamed as (
    select
        upload_id,
        row_number,
        channel,
        identifier as value,
        country_code
    from source
),

{{ normalize_identifiers('renamed') }},

hashed as (
    select
        upload_id,
        row_number,
        channel,
        normalized_value,
        normalization_fault,
        -- what an identifier says when it is read as a SHA-256: hex in any case, or padded base64
        -- whose last two bits are zero
        case
            when {{ matches('trimmed_value', "'^[0-9A-Fa-f]{64}$'") }} then lower(trimmed_value)
            when {{ matches('trimmed_value', "'^[0-9A-Za-z+/]{42}[AEIMQUYcgkosw048]=$'") }}
                then {{ base64_to_hex('trimmed_value') }}
        end as hash_hex
    from normalized_identifiers
)

select * from hashed
