with source as (
    select engagement_id, user_id, advertiser_id, measurement_partner_id, event, occurred_at, country_code
    from {{ input_table('raw_ad_engagements') }}
),

renamed as (
    select
        cast(engagement_id as varchar) as engagement_id,
        cast(user_id as varchar) as user_id,
        cast(advertiser_id as varchar) as advertiser_id,
        cast(measurement_partner_id as varchar) as measurement_partner_id,
        event,
        cast(occurred_at as timestamptz) as occurred_at,
        country_code
    from source
)

select * from renamed
