with consent_funnel as (
    select data_use, channel, decision, contacts, users
    from {{ ref('release_consent_funnel') }}
),

release as (
    select as_of
    from {{ ref('release') }}
)

select
    consent_funnel.*,
    release.as_of
from consent_funnel
cross join release
