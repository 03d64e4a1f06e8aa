with folded_list_entries as (
    select
        list_id, data_use, channel, rendering, match_key, added_at_position, last_added_at, membership_ends_at
    from {{ ref('folded_list_entries') }}
    where is_current
),

contact_match_keys as (
    select
        contact_id, user_id, channel, data_use, purpose, consent_event_id, consented_at, consent_expires_at,
        rendering, match_key
    from {{ ref('contact_match_keys') }}
),

matched as (
    select
        folded_list_entries.list_id,
        contact_match_keys.contact_id,
        contact_match_keys.user_id,
        folded_list_entries.channel,
        folded_list_entries.match_key,
        contact_match_keys.purpose,
        contact_match_keys.consent_event_id,
        folded_list_entries.added_at_position,
        greatest(contact_match_keys.consented_at, folded_list_entries.last_added_at) as matched_at,
        -- least passes over nulls, which are no end
        least(folded_list_entries.membership_ends_at, contact_match_keys.consent_expires_at) as valid_until
    from folded_list_entries
    inner join contact_match_keys
        on
            folded_list_entries.data_use = contact_match_keys.data_use
            and folded_list_entries.channel = contact_match_keys.channel
            and folded_list_entries.rendering = contact_match_keys.rendering
            and folded_list_entries.match_key = contact_match_keys.match_key
)

select * from matched
