with source as (
    select
        engagement_id, user_id, advertiser_id, measurement_partner_id, event, occurred_at, country_code
    from {{ input_table('raw_ad_engagements') }}
)

select * from source
