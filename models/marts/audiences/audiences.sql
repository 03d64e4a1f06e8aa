with audience_eligibilities as (
    select
        list_id, advertiser_id, list_kind, partner_id, refused_status, list_owner, terms_version,
        lawful_basis_attested_at
    from {{ ref('audience_eligibilities') }}
),

audience_sizes as (
    select list_id, advertiser_id, counted_members, is_noised
    from {{ ref('audience_sizes') }}
),

audience_differences as (
    select list_id, advertiser_id, is_far_from_older, has_older_serving
    from {{ ref('audience_differences') }}
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
        max(case when setting = 'size_rounding' then cast(value as integer) end) as size_rounding,
        max(case when setting = 'min_size_change' then cast(value as integer) end) as min_size_change
    from audience_policy
    where setting in ('min_audience_size', 'size_rounding', 'min_size_change')
),

-- a size of the last build that today's policy would not have published is not kept
previous_sizes as (
    select previous.list_id, previous.advertiser_id, previous.reported_size
    from {{ previous_state('published_sizes') }} as previous
    cross join thresholds
    where
        previous.reported_size >= thresholds.min_audience_size
        and mod(previous.reported_size, thresholds.size_rounding) = 0
),

uploads as (
    select
        list_id,
        sum(entries) as uploaded_entries,
        sum(case when reason in ('matched', 'not_matched') then entries else 0 end) as matchable_entries
    from list_reports
    group by list_id
),

-- DESIGN 4.4, the first that applies: a list serves only where its size is known to reach the minimum, and
-- where it was compared with the older lists of its advertiser. With noise a list that is near an older one
-- comes first and may not draw: what it is called then, its advertiser can tell without it
judged as (
    select
        audience_eligibilities.list_id,
        audience_eligibilities.advertiser_id,
        audience_eligibilities.list_kind,
        audience_eligibilities.partner_id,
        case
            when audience_eligibilities.refused_status is not null then audience_eligibilities.refused_status
            when audience_sizes.is_noised and not coalesce(audience_differences.is_far_from_older, false)
                then case when audience_differences.has_older_serving then 'withheld_differencing' else 'too_small' end
            when not coalesce(audience_sizes.counted_members >= thresholds.min_audience_size, false) then 'too_small'
            when not coalesce(audience_differences.is_far_from_older, false) then 'withheld_differencing'
            else 'serving'
        end as list_status,
        case
            when audience_sizes.is_noised
                then audience_sizes.counted_members - mod(audience_sizes.counted_members, thresholds.size_rounding)
        end as rounded_size,
        previous_sizes.reported_size as previous_size,
        thresholds.min_size_change,
        uploads.matchable_entries,
        coalesce(uploads.uploaded_entries, 0) as uploaded_entries,
        audience_eligibilities.list_owner,
        audience_eligibilities.terms_version,
        audience_eligibilities.lawful_basis_attested_at
    from audience_eligibilities
    cross join thresholds
    left join audience_sizes
        on
            audience_eligibilities.list_id = audience_sizes.list_id
            and audience_eligibilities.advertiser_id = audience_sizes.advertiser_id
    left join audience_differences
        on
            audience_eligibilities.list_id = audience_differences.list_id
            and audience_eligibilities.advertiser_id = audience_differences.advertiser_id
    left join previous_sizes
        on
            audience_eligibilities.list_id = previous_sizes.list_id
            and audience_eligibilities.advertiser_id = previous_sizes.advertiser_id
    left join uploads
        on audience_eligibilities.list_id = uploads.list_id
),

-- whether a size has changed enough is asked of the noised size: an exact edge would tell the last person
-- of a change padded up to it
reported as (
    select
        list_id,
        advertiser_id,
        list_kind,
        partner_id,
        list_status,
        case
            when list_status <> 'serving' or rounded_size is null then null
            when abs(rounded_size - previous_size) < min_size_change then previous_size
            else rounded_size
        end as reported_size,
        matchable_entries,
        uploaded_entries,
        list_owner,
        terms_version,
        lawful_basis_attested_at
    from judged
),

-- the band comes from the published size: one from the exact matches would tell, at its edge, what noise
-- and rounding hide
banded as (
    select
        list_id,
        advertiser_id,
        list_kind,
        partner_id,
        list_status,
        reported_size,
        case
            when reported_size is not null
                then least(cast(floor(reported_size * 10.0 / matchable_entries) as integer), 9)
        end as match_rate_decile,
        uploaded_entries,
        list_owner,
        terms_version,
        lawful_basis_attested_at
    from reported
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
