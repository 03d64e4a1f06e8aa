with members as (
    select
        'tailored' as list_kind, list_id, advertiser_id, user_id, cast(null as varchar) as partner_id,
        matched_email, matched_phone, first_matched_at, valid_until
    from {{ ref('release_tailored_audience_members') }}

    union all

    select
        'partner' as list_kind, list_id, advertiser_id, user_id, partner_id,
        matched_email, matched_phone, first_matched_at, valid_until
    from {{ ref('release_partner_audience_members') }}
),

member_explanations as (
    select list_id, advertiser_id, user_id, contact_id
    from {{ ref('member_explanations') }}
),

-- the contacts are what the next build judges a removal by
evidenced as (
    select
        members.list_kind,
        members.list_id,
        members.advertiser_id,
        members.user_id,
        member_explanations.contact_id,
        members.partner_id,
        members.matched_email,
        members.matched_phone,
        members.first_matched_at,
        members.valid_until
    from members
    inner join member_explanations
        on
            members.list_id = member_explanations.list_id
            and members.advertiser_id = member_explanations.advertiser_id
            and members.user_id = member_explanations.user_id
)

select * from evidenced
