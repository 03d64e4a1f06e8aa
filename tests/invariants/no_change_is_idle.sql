-- Twin of changes_give_what_is_delivered: a returned row is a change without which the same would come out,
-- or one that starts from another build. So each row of the changes is needed, and they name nobody who
-- neither is nor was delivered.

with previous_members as (
    select distinct list_kind, list_id, advertiser_id, user_id, partner_id, matched_email, matched_phone,
        first_matched_at, valid_until
    from {{ ref('previous_members') }}
),

previous_moment as (
    select max(as_of) as as_of_before
    from {{ ref('previous_members') }}
),

membership_changes as (
    select * from {{ ref('release_membership_changes') }}
),

-- what is added or updated to what it was
same_as_before as (
    select list_kind, list_id, advertiser_id, user_id, partner_id, matched_email, matched_phone,
        first_matched_at, valid_until
    from membership_changes

    intersect

    select * from previous_members
),

compared as (
    select
        membership_changes.*,
        previous_moment.as_of_before,
        previous_members.user_id is not null as was_delivered
    from membership_changes
    cross join previous_moment
    left join previous_members
        on
            membership_changes.list_kind = previous_members.list_kind
            and membership_changes.list_id = previous_members.list_id
            and membership_changes.advertiser_id = previous_members.advertiser_id
            and membership_changes.user_id = previous_members.user_id
)

select list_kind, list_id, advertiser_id, user_id, change
from compared
where
    previous_as_of is distinct from as_of_before
    or was_delivered is distinct from (change in ('update', 'remove'))

union all

select list_kind, list_id, advertiser_id, user_id, 'none' as change
from same_as_before
