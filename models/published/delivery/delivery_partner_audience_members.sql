with members as (
    select
        list_id, advertiser_id, user_id, partner_id, matched_email, matched_phone, first_matched_at,
        valid_until
    from {{ ref('release_partner_audience_members') }}
),

release as (
    select as_of
    from {{ ref('release') }}
)

select
    members.*,
    release.as_of
from members
cross join release
