-- Twin of changes_give_what_is_delivered: a returned row is a change without which the same would come out,
-- or one that starts from another build. So each row of the changes is needed, and they name nobody who
-- neither is nor was delivered.

with previous_members as (
    select distinct list_kind, list_id, advertiser_id, user_id, partner_id, matched_email, matched_phone,
        first_matched_at, valid_until, as_of
    from {{ ref('previous_members') }}
),

previous_moment as (
    select max(as_of) as previous_as_of
    from previous_members
),

compared as (
    select
        membership_changes.*,
        previous_moment.previous_as_of as moment_before,
        previous_members.user_id is not null as was_delivered,
        case
            when
                previous_members.partner_id is distinct from membership_changes.partner_id
                or previous_members.matched_email is distinct from membership_changes.matched_email
                or previous_members.matched_phone is distinct from membership_changes.matched_phone
                or previous_members.first_matched_at is distinct from membership_changes.first_matched_at
                or previous_members.valid_until is distinct from membership_changes.valid_until
                then 'other'
            else 'same'
        end as content
    from {{ ref('release_membership_changes') }} as membership_changes
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
    previous_as_of is distinct from moment_before
    or case change
        when 'add' then was_delivered
        when 'update' then not was_delivered or content = 'same'
        when 'remove' then not was_delivered
        else true
    end
