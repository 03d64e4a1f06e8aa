with source as (
    select advertiser_id, name, status, terms_accepted_at, terms_version
    from {{ input_table('raw_advertisers') }}
),

renamed as (
    select
        advertiser_id,
        name as advertiser_name,
        coalesce(status = 'active', false) as is_active,
        terms_accepted_at,
        nullif({{ trim_white_space('terms_version') }}, '') as terms_version
    from source
)

select * from renamed
