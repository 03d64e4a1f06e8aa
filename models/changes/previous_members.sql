-- A copy, since the state is replaced at the end of the build, and the guards must still see it
with delivered_members as (
    select
        list_kind, list_id, advertiser_id, user_id, contact_id, partner_id, matched_email, matched_phone,
        first_matched_at, valid_until, as_of
    from {{ previous_state('delivered_members') }} as previous -- noqa: AL05
)

select * from delivered_members
