-- A returned row is about to be delivered and is not what the changes make of what was delivered before, or
-- is what they make and is not about to be delivered: in any column.

with previous_members as (
    select distinct list_kind, list_id, advertiser_id, user_id, partner_id, matched_email, matched_phone,
        first_matched_at, valid_until
    from {{ ref('previous_members') }}
),

membership_changes as (
    select * from {{ ref('release_membership_changes') }}
),

applied as (
    select previous_members.*
    from previous_members
    where not exists (
        select 1 from membership_changes
        where
            membership_changes.list_kind = previous_members.list_kind
            and membership_changes.list_id = previous_members.list_id
            and membership_changes.advertiser_id = previous_members.advertiser_id
            and membership_changes.user_id = previous_members.user_id
    )

    union all

    select list_kind, list_id, advertiser_id, user_id, partner_id, matched_email, matched_phone,
        first_matched_at, valid_until
    from membership_changes
    where change in ('add', 'update')
),

delivered as (
    select 'tailored' as list_kind, list_id, advertiser_id, user_id, cast(null as varchar) as partner_id,
        matched_email, matched_phone, first_matched_at, valid_until
    from {{ ref('release_tailored_audience_members') }}

    union all

    select 'partner' as list_kind, list_id, advertiser_id, user_id, partner_id, matched_email, matched_phone,
        first_matched_at, valid_until
    from {{ ref('release_partner_audience_members') }}
),

differing as (
    (
        select * from applied

        except all

        select * from delivered
    )

    union all

    (
        select * from delivered

        except all

        select * from applied
    )
)

select list_kind, list_id, advertiser_id, user_id
from differing
