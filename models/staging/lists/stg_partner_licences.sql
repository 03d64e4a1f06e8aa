with source as (
    select
        licence_id, partner_id, advertiser_id, list_id, starts_at, ends_at, revoked_at, allowed_data_uses
    from {{ input_table('raw_partner_licences') }}
)

select * from source
