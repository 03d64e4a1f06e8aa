with audience_eligibilities as (
    select
        list_id, advertiser_id, list_kind, partner_id, refused_status, list_owner, terms_version,
        lawful_basis_attested_at
    from {{ ref('audience_eligibilities') }}
),

members as (
    select list_id, advertiser_id, user_id
    from {{ ref('tailored_audience_members') }}

    union all

    select list_id, advertiser_id, user_id
    from {{ ref('partner_audience_members') }}
),

list_reports as (
    select list_id, reason, entries
    from {{ ref('list_reports') }}
),

audience_policy as (
    select setting, value
    from {{ ref('audience_policy') }}
),

thresholds as (
    select
        max(case when setting = 'min_audience_size' then cast(value as integer) end) as min_audience_size,
        max(case when setting = 'size_rounding' then cast(value as integer) end) as size_rounding
    from audience_policy
    where setting in ('min_audience_size', 'size_rounding')
),

sizes as (
    select
        list_id,
        advertiser_id,
        count(*) as members
    from members
    group by list_id, advertiser_id
),

uploads as (
    select
        list_id,
        sum(entries) as uploaded_entries,
        sum(case when reason = 'matched' then entries else 0 end) as matched_entries,
        sum(case when reason in ('matched', 'not_matched') then entries else 0 end) as matchable_entries
    from list_reports
    group by list_id
),

-- a list serves only where its size is known to reach the minimum
sized as (
    select
        audience_eligibilities.list_id,
        audience_eligibilities.advertiser_id,
        audience_eligibilities.list_kind,
        audience_eligibilities.partner_id,
        case
            when audience_eligibilities.refused_status is not null then audience_eligibilities.refused_status
            when sizes.members >= thresholds.min_audience_size then 'serving'
            else 'too_small'
        end as list_status,
        sizes.members,
        thresholds.size_rounding,
        uploads.matched_entries,
        uploads.matchable_entries,
        coalesce(uploads.uploaded_entries, 0) as uploaded_entries,
        audience_eligibilities.list_owner,
        audience_eligibilities.terms_version,
        audience_eligibilities.lawful_basis_attested_at
    from audience_eligibilities
    cross join thresholds
    left join sizes
        on
            audience_eligibilities.list_id = sizes.list_id
            and audience_eligibilities.advertiser_id = sizes.advertiser_id
    left join uploads
        on audience_eligibilities.list_id = uploads.list_id
),

banded as (
    select
        list_id,
        advertiser_id,
        list_kind,
        partner_id,
        list_status,
        case when list_status = 'serving' then members - members % size_rounding end as reported_size,
        case
            when list_status = 'serving'
                then least(cast(floor(matched_entries * 10.0 / matchable_entries) as integer), 9)
        end as match_rate_decile,
        uploaded_entries,
        list_owner,
        terms_version,
        lawful_basis_attested_at
    from sized
)

select
    list_id,
    advertiser_id,
    list_kind,
    partner_id,
    list_status,
    cast(reported_size as bigint) as reported_size,
    cast(match_rate_decile * 10 as varchar) || '-' || cast(match_rate_decile * 10 + 10 as varchar) || ' %'
        as match_rate_band,
    cast(uploaded_entries as bigint) as uploaded_entries,
    list_owner,
    terms_version,
    lawful_basis_attested_at
from banded
