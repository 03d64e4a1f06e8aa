with audience_eligibilities as (
    select list_id, advertiser_id, list_kind, partner_id, list_expires_at, licence_id, licence_ends_at
    from {{ ref('audience_eligibilities') }}
    where refused_status is null
),

list_matches as (
    select
        list_id, contact_id, user_id, channel, purpose, consent_event_id, added_at_position, matched_at, valid_until
    from {{ ref('list_matches') }}
),

contacts as (
    select distinct contact_id, channel, normalized_value, national_number, trunk_number, block_key
    from {{ ref('contacts_consented_for_ads') }} as gate
    where exists (
        select 1 from list_matches
        where list_matches.contact_id = gate.contact_id
    )
),

advertiser_suppressions as (
    select advertiser_id, block_key
    from {{ ref('stg_advertiser_suppressions') }}
    where added_at is null or added_at <= {{ as_of() }}
),

contact_block_keys as (
    {{ meeting_block_keys('contacts', 'contact_id') }}
),

suppressed_contacts as (
    select advertiser_suppressions.advertiser_id, contact_block_keys.contact_id
    from advertiser_suppressions
    inner join contact_block_keys
        on advertiser_suppressions.block_key = contact_block_keys.block_key
),

matched as (
    select
        audience_eligibilities.list_id,
        audience_eligibilities.advertiser_id,
        audience_eligibilities.list_kind,
        audience_eligibilities.partner_id,
        audience_eligibilities.licence_id,
        list_matches.user_id,
        list_matches.contact_id,
        list_matches.channel,
        list_matches.purpose,
        list_matches.consent_event_id,
        list_matches.added_at_position,
        list_matches.matched_at,
        least(
            list_matches.valid_until,
            audience_eligibilities.list_expires_at,
            audience_eligibilities.licence_ends_at
        ) as valid_until
    from audience_eligibilities
    inner join list_matches
        on audience_eligibilities.list_id = list_matches.list_id
    where not exists (
        select 1 from suppressed_contacts
        where
            suppressed_contacts.advertiser_id = {{ trim_white_space('audience_eligibilities.advertiser_id') }}
            and suppressed_contacts.contact_id = list_matches.contact_id
    )
)

select * from matched
