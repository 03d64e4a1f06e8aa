with audience_matches as (
    select
        list_id, advertiser_id, user_id, contact_id, channel, purpose, consent_event_id, matched_at,
        valid_until
    from {{ ref('audience_matches') }}
)

select * from audience_matches
