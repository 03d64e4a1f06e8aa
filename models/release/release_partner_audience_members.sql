with members as (
    select
        list_id, advertiser_id, user_id, partner_id, matched_email, matched_phone, first_matched_at,
        valid_until
    from {{ ref('partner_audience_members') }}
),

serving_audiences as (
    select list_id, advertiser_id
    from {{ ref('audiences') }}
    where list_status = 'serving'
),

serving_members as (
    select members.*
    from members
    inner join serving_audiences
        on
            members.list_id = serving_audiences.list_id
            and members.advertiser_id = serving_audiences.advertiser_id
)

select * from serving_members
