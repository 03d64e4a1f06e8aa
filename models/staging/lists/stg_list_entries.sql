with source as (
    select upload_id, row_number, channel, identifier, country_code
    from {{ input_table('raw_list_entries') }}
),

-- most hashes come as they should
plain as (
    select
        *,
        case when length(identifier) = 64 and {{ matches('identifier', "'^[0-9A-Fa-f]+$'") }} then lower(identifier) end
            as plain_hash
    from source
),

trimmed as (
    select
        *,
        case
            when plain_hash is not null or {{ matches('identifier', "'^[!-~]*$'") }} then identifier
            else {{ trim_white_space('identifier') }}
        end as value
    from plain
),

-- what an identifier says when it is read as a SHA-256: hex in any case, or padded base64 whose last two
-- bits are zero
hashed as (
    select
        upload_id,
        row_number,
        channel,
        value,
        country_code,
        case
            when plain_hash is not null then plain_hash
            when length(value) = 64 and {{ matches('value', "'^[0-9A-Fa-f]+$'") }} then lower(value)
            when length(value) = 44 and {{ matches('value', "'^[0-9A-Za-z+/]{42}[AEIMQUYcgkosw048]=$'") }}
                then {{ base64_to_hex('value') }}
        end as hash_hex
    from trimmed
)

select * from hashed
