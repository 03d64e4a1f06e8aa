with folded_list_entries as (
    select list_id, data_use, channel, rendering, match_key, last_added_at, membership_ends_at
    from {{ ref('folded_list_entries') }}
    where not is_membership_expired
),

contact_match_keys as (
    select contact_id, channel, rendering, match_key
    from {{ ref('contact_match_keys') }}
),

contacts_consented_for_ads as (
    select
        contact_id, user_id, data_use, purpose, consent_event_id, consent_occurred_at, consent_expires_at,
        collected_at, verified_at
    from {{ ref('contacts_consented_for_ads') }}
),

matched as (
    select
        folded_list_entries.list_id,
        contacts_consented_for_ads.contact_id,
        contacts_consented_for_ads.user_id,
        folded_list_entries.channel,
        folded_list_entries.match_key,
        contacts_consented_for_ads.purpose,
        contacts_consented_for_ads.consent_event_id,
        -- greatest and least pass over nulls: under opt_out there is no consent event
        greatest(
            contacts_consented_for_ads.collected_at,
            contacts_consented_for_ads.verified_at,
            contacts_consented_for_ads.consent_occurred_at,
            folded_list_entries.last_added_at
        ) as matched_at,
        least(
            folded_list_entries.membership_ends_at,
            contacts_consented_for_ads.consent_expires_at
        ) as valid_until
    from folded_list_entries
    inner join contact_match_keys
        on
            folded_list_entries.channel = contact_match_keys.channel
            and folded_list_entries.rendering = contact_match_keys.rendering
            and folded_list_entries.match_key = contact_match_keys.match_key
    inner join contacts_consented_for_ads
        on
            contact_match_keys.contact_id = contacts_consented_for_ads.contact_id
            and folded_list_entries.data_use = contacts_consented_for_ads.data_use
)

select * from matched
