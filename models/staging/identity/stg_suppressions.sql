with source as (
    select suppression_id, channel, value, added_at
    from {{ input_table('raw_suppressions') }}
    where nullif({{ trim_white_space('advertiser_id') }}, '') is null
),

located as (
    select
        suppression_id,
        channel,
        value,
        added_at,
        cast(null as varchar) as country_code
    from source
),

{{ normalize_identifiers('located') }},

renamed as (
    select suppression_id, channel, block_key, added_at
    from normalized_identifiers
)

select * from renamed
