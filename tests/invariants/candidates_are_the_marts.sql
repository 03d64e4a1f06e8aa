-- A returned row is about to be delivered and is not what the mart holds of a serving audience, or is held
-- there and is about to be left out: in any column, the end of a membership included.

with serving as (
    select list_id, advertiser_id
    from {{ ref('audiences') }}
    where list_status = 'serving'
),

members as (
    select list_id, advertiser_id, user_id, cast(null as varchar) as partner_id, matched_email, matched_phone,
        first_matched_at, valid_until
    from {{ ref('tailored_audience_members') }}

    union all

    select list_id, advertiser_id, user_id, partner_id, matched_email, matched_phone, first_matched_at,
        valid_until
    from {{ ref('partner_audience_members') }}
),

serving_members as (
    select members.*
    from members
    where exists (
        select 1 from serving
        where serving.list_id = members.list_id and serving.advertiser_id = members.advertiser_id
    )
),

delivered_members as (
    select list_id, advertiser_id, user_id, cast(null as varchar) as partner_id, matched_email, matched_phone,
        first_matched_at, valid_until
    from {{ ref('release_tailored_audience_members') }}

    union all

    select list_id, advertiser_id, user_id, partner_id, matched_email, matched_phone, first_matched_at,
        valid_until
    from {{ ref('release_partner_audience_members') }}
),

differing_members as (
    (
        select * from serving_members

        except all

        select * from delivered_members
    )

    union all

    (
        select * from delivered_members

        except all

        select * from serving_members
    )
),

differing_events as (
    (
        select * from {{ ref('measurement_events_shared') }}

        except all

        select * from {{ ref('release_measurement_events_shared') }}
    )

    union all

    (
        select * from {{ ref('release_measurement_events_shared') }}

        except all

        select * from {{ ref('measurement_events_shared') }}
    )
),

differing_audiences as (
    (
        select * from {{ ref('audiences') }}

        except all

        select * from {{ ref('release_audiences') }}
    )

    union all

    (
        select * from {{ ref('release_audiences') }}

        except all

        select * from {{ ref('audiences') }}
    )
)

select 'members' as relation, list_id || ' ' || user_id as row_key from differing_members

union all

select 'measurement_events_shared' as relation, engagement_id as row_key from differing_events

union all

select 'audiences' as relation, list_id || ' ' || advertiser_id as row_key from differing_audiences
