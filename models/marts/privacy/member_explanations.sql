with audience_matches as (
    select
        list_id, advertiser_id, user_id, contact_id, channel, purpose, consent_event_id, licence_id,
        added_at_position, matched_at, valid_until
    from {{ ref('audience_matches') }}
),

ordered_list_uploads as (
    select list_id, upload_id, upload_position
    from {{ ref('ordered_list_uploads') }}
),

explained as (
    select
        audience_matches.list_id,
        audience_matches.advertiser_id,
        audience_matches.user_id,
        audience_matches.contact_id,
        audience_matches.channel,
        audience_matches.purpose,
        audience_matches.consent_event_id,
        ordered_list_uploads.upload_id,
        audience_matches.licence_id,
        audience_matches.matched_at,
        audience_matches.valid_until
    from audience_matches
    inner join ordered_list_uploads
        on
            audience_matches.list_id = ordered_list_uploads.list_id
            and audience_matches.added_at_position = ordered_list_uploads.upload_position
)

select * from explained
