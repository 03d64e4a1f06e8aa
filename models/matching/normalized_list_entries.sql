-- a hash is not read as an address or a number
with addresses as (
    select upload_id, row_number, channel, hash_hex, case when hash_hex is null then value end as value
    from {{ ref('stg_list_entries') }}
    where channel is null or channel <> 'phone'
),

numbers as (
    select
        upload_id, row_number, channel, hash_hex, country_code,
        case when hash_hex is null then value end as value
    from {{ ref('stg_list_entries') }}
    where channel = 'phone'
),

{{ normalize_identifiers('addresses', 'numbers', 'upload_id, row_number, channel, hash_hex') }}

select upload_id, row_number, channel, normalized_value, normalization_fault, hash_hex
from normalized_identifiers
