-- A returned row is a member without an explanation, an explanation without a member, or a member whose
-- channels, first moment or end are not those of its explanations.

with members as (
    select list_id, advertiser_id, user_id, matched_email, matched_phone, first_matched_at, valid_until
    from {{ ref('tailored_audience_members') }}

    union all

    select list_id, advertiser_id, user_id, matched_email, matched_phone, first_matched_at, valid_until
    from {{ ref('partner_audience_members') }}
),

explained as (
    select
        list_id,
        advertiser_id,
        user_id,
        max(case when channel = 'email' then 1 else 0 end) = 1 as matched_email,
        max(case when channel = 'phone' then 1 else 0 end) = 1 as matched_phone,
        min(matched_at) as first_matched_at,
        case when count(*) = count(valid_until) then max(valid_until) end as valid_until
    from {{ ref('member_explanations') }}
    group by list_id, advertiser_id, user_id
),

unexplained as (
    (
        select * from members

        except all

        select * from explained
    )

    union all

    (
        select * from explained

        except all

        select * from members
    )
)

select list_id, advertiser_id, user_id
from unexplained
