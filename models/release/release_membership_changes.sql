with membership_changes as (
    select
        list_kind, list_id, advertiser_id, user_id, change, reason, partner_id, matched_email, matched_phone,
        first_matched_at, valid_until, previous_as_of
    from {{ ref('membership_changes') }}
)

select * from membership_changes
