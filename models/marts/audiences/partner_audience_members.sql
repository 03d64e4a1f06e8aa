with audience_matches as (
    select list_id, advertiser_id, user_id, partner_id, channel, matched_at, valid_until
    from {{ ref('audience_matches') }}
    where list_kind = 'partner'
),

members as (
    select
        list_id,
        advertiser_id,
        user_id,
        partner_id,
        bool_or(channel = 'email') as matched_email,
        bool_or(channel = 'phone') as matched_phone,
        min(matched_at) as first_matched_at,
        -- one match without an end keeps a member without an end
        case when not bool_or(valid_until is null) then max(valid_until) end as valid_until
    from audience_matches
    group by list_id, advertiser_id, user_id, partner_id
)

select * from members
