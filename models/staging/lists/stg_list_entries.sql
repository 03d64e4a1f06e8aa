with source as (
    select upload_id, row_number, channel, identifier, country_code
    from {{ input_table('raw_list_entries') }}
),

trimmed as (
    select
        upload_id,
        row_number,
        channel,
        case
            when {{ matches('identifier', "'^[!-~]*$'") }} then identifier
            else {{ trim_white_space('identifier') }}
        end as value,
        country_code
    from source
),

-- what an identifier says when it is read as a SHA-256: hex in any case, or padded base64 whose last two
-- bits are zero
hashed as (
    select
        *,
        case
            when length(value) = 64 and {{ matches('value', "'^[0-9A-Fa-f]+$'") }} then lower(value)
            when length(value) = 44 and {{ matches('value', "'^[0-9A-Za-z+/]{42}[AEIMQUYcgkosw048]=$'") }}
                then {{ base64_to_hex('value') }}
        end as hash_hex
    from trimmed
)

select * from hashed
