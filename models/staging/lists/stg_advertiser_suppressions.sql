with source as (
    select suppression_id, channel, value, {{ trim_white_space('advertiser_id') }} as advertiser_id, added_at
    from {{ input_table('raw_suppressions') }}
    where nullif({{ trim_white_space('advertiser_id') }}, '') is not null
),

located as (
    select
        suppression_id,
        channel,
        value,
        advertiser_id,
        added_at,
        cast(null as varchar) as country_code
    from source
),

{{ normalize_identifiers('located') }},

renamed as (
    select suppression_id, advertiser_id, channel, block_key, added_at
    from normalized_identifiers
)

select * from renamed
