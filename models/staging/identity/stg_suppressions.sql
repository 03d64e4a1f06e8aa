with source as (
    select
        suppression_id,
        {{ spelled_channel('value') }} as channel,
        value,
        added_at
    from {{ input_table('raw_suppressions') }}
    where nullif({{ trim_white_space('advertiser_id') }}, '') is null
),

addresses as (
    select *
    from source
    where channel = 'email'
),

numbers as (
    select *, cast(null as varchar) as country_code
    from source
    where channel = 'phone'
),

{{ normalize_identifiers('addresses', 'numbers', 'suppression_id, channel, added_at') }}

select suppression_id, channel, block_key, added_at
from normalized_identifiers
