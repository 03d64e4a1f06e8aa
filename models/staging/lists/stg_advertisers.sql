with source as (
    select advertiser_id, name, status, terms_accepted_at
    from {{ input_table('raw_advertisers') }}
),

renamed as (
    select
        cast(advertiser_id as varchar) as advertiser_id,
        name as advertiser_name,
        coalesce(status = 'active', false) as is_active,
        cast(terms_accepted_at as timestamptz) as terms_accepted_at
    from source
)

select * from renamed
