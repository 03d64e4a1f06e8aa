with contacts_consented_for_ads as (
    select contact_id, channel, normalized_value
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

contacts as (
    select distinct contact_id, channel, normalized_value
    from contacts_consented_for_ads
),

rendered as (
    select
        contacts.contact_id,
        contacts.channel,
        renderings.rendering,
        {{ render_identifier('contacts.normalized_value', 'renderings.rendering') }} as rendered_value
    from contacts
    inner join renderings
        on contacts.channel = renderings.channel
),

minted as (
    select
        contact_id,
        channel,
        rendering,
        {{ sha256_hex('rendered_value') }} as match_key
    from rendered
    where rendered_value is not null
)

select * from minted
