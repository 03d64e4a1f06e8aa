with source as (
    select licence_id, partner_id, advertiser_id, list_id, starts_at, ends_at, revoked_at
    from {{ input_table('raw_partner_licences') }}
),

renamed as (
    select
        cast(licence_id as varchar) as licence_id,
        cast(partner_id as varchar) as partner_id,
        cast(advertiser_id as varchar) as advertiser_id,
        cast(list_id as varchar) as list_id,
        cast(starts_at as timestamptz) as starts_at,
        cast(ends_at as timestamptz) as ends_at,
        cast(revoked_at as timestamptz) as revoked_at
    from source
)

select * from renamed
