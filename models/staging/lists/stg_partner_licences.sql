with source as (
    select licence_id, partner_id, advertiser_id, list_id, starts_at, ends_at, revoked_at
    from {{ input_table('raw_partner_licences') }}
)

select * from source
