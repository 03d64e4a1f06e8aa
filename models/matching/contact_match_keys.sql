with contacts_consented_for_ads as (
    select
        contact_id, user_id, channel, data_use, purpose, consent_event_id, consent_occurred_at,
        consent_expires_at, collected_at, verified_at, normalized_value
    from {{ ref('contacts_consented_for_ads') }}
),

audience_lists as (
    select distinct normalization_profile
    from {{ ref('stg_audience_lists') }}
),

normalization_profiles as (
    select normalization_profile, channel, rendering
    from {{ ref('normalization_profiles') }}
),

-- a key is minted only in the renderings that some list uses
renderings as (
    select distinct normalization_profiles.channel, normalization_profiles.rendering
    from normalization_profiles
    inner join audience_lists
        on normalization_profiles.normalization_profile = audience_lists.normalization_profile
),

rendered as (
    select
        contacts_consented_for_ads.contact_id,
        contacts_consented_for_ads.user_id,
        contacts_consented_for_ads.channel,
        contacts_consented_for_ads.data_use,
        contacts_consented_for_ads.purpose,
        contacts_consented_for_ads.consent_event_id,
        -- greatest passes over nulls: under opt_out there is no consent event
        greatest(
            contacts_consented_for_ads.collected_at,
            contacts_consented_for_ads.verified_at,
            contacts_consented_for_ads.consent_occurred_at
        ) as consented_at,
        contacts_consented_for_ads.consent_expires_at,
        renderings.rendering,
        {{ render_identifier('contacts_consented_for_ads.normalized_value', 'renderings.rendering') }}
            as rendered_value
    from contacts_consented_for_ads
    inner join renderings
        on contacts_consented_for_ads.channel = renderings.channel
),

minted as (
    select
        contact_id,
        user_id,
        channel,
        data_use,
        purpose,
        consent_event_id,
        consented_at,
        consent_expires_at,
        rendering,
        {{ sha256_hex('rendered_value') }} as match_key
    from rendered
    where rendered_value is not null
)

select * from minted
