with previous_members as (
    select distinct
        list_kind, list_id, advertiser_id, user_id, partner_id, matched_email, matched_phone,
        first_matched_at, valid_until
    from {{ ref('previous_members') }}
),

members as (
    select distinct
        list_kind, list_id, advertiser_id, user_id, partner_id, matched_email, matched_phone,
        first_matched_at, valid_until
    from {{ ref('release_delivered_members') }}
),

removed_members as (
    select list_kind, list_id, advertiser_id, user_id, reason
    from {{ ref('removed_members') }}
),

-- null when nothing was delivered before: whoever applies the changes starts from empty
previous_moment as (
    select max(as_of) as previous_as_of
    from {{ ref('previous_members') }}
),

added as (
    select
        members.list_kind, members.list_id, members.advertiser_id, members.user_id,
        'add' as change,
        'joined' as reason,
        members.partner_id, members.matched_email, members.matched_phone, members.first_matched_at,
        members.valid_until
    from members
    where not exists (
        select 1 from previous_members
        where
            previous_members.list_kind = members.list_kind
            and previous_members.list_id = members.list_id
            and previous_members.advertiser_id = members.advertiser_id
            and previous_members.user_id = members.user_id
    )
),

updated as (
    select
        members.list_kind, members.list_id, members.advertiser_id, members.user_id,
        'update' as change,
        'revised' as reason,
        members.partner_id, members.matched_email, members.matched_phone, members.first_matched_at,
        members.valid_until
    from members
    inner join previous_members
        on
            members.list_kind = previous_members.list_kind
            and members.list_id = previous_members.list_id
            and members.advertiser_id = previous_members.advertiser_id
            and members.user_id = previous_members.user_id
    where
        members.partner_id is distinct from previous_members.partner_id
        or members.matched_email <> previous_members.matched_email
        or members.matched_phone <> previous_members.matched_phone
        or members.first_matched_at <> previous_members.first_matched_at
        or members.valid_until is distinct from previous_members.valid_until
),

-- of who left nothing is told but who, where and why
removed as (
    select
        list_kind, list_id, advertiser_id, user_id,
        'remove' as change,
        reason,
        cast(null as varchar) as partner_id,
        cast(null as boolean) as matched_email,
        cast(null as boolean) as matched_phone,
        cast(null as timestamptz) as first_matched_at,
        cast(null as timestamptz) as valid_until
    from removed_members
),

changed as (
    select * from added

    union all

    select * from updated

    union all

    select * from removed
)

select
    changed.*,
    previous_moment.previous_as_of
from changed
cross join previous_moment
