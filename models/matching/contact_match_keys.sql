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

hashed as (
    select
        contact_id,
        user_id,
        channel,
        data_use,
        purpose,
        consent_event_id,
        -- greatest passes over nulls: under opt_out there is no consent event
        greatest(collected_at, verified_at, consent_occurred_at) as consented_at,
        consent_expires_at,
        normalized_value,
        {{ sha256_hex('normalized_value') }} as normalized_hash
    from contacts_consented_for_ads
),

rendered as (
    select
        hashed.*,
        renderings.rendering,
        {{ render_identifier('hashed.normalized_value', 'renderings.rendering') }} as rendered_value
    from hashed
    inner join renderings
        on hashed.channel = renderings.channel
),

-- most renderings of most values are the value as it is, which is hashed once
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
        case
            when rendered_value = normalized_value then normalized_hash
            else {{ sha256_hex('rendered_value') }}
        end as match_key
    from rendered
    where rendered_value is not null
)

select * from minted
