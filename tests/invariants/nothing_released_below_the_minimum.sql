-- A returned row is an audience, a report row or a step of the funnel that is about to be published
-- although fewer people or rows than the minimum stand behind it; a size that is not rounded, or that
-- changed by less than the minimum change; an audience that serves although it is hardly different from an
-- older one of its advertiser, or, where there is noise, whose status tells more then than whether some older
-- one serves; or a report that tells more of how many rows matched than the published size: by itself, or
-- because its rows do not add up to those uploaded, which are published beside it.

with settings as (
    select
        max(case when setting = 'min_audience_size' then cast(value as integer) end) as min_audience_size,
        max(case when setting = 'size_rounding' then cast(value as integer) end) as size_rounding,
        max(case when setting = 'size_noise' then cast(value as integer) end) as size_noise,
        max(case when setting = 'min_size_change' then cast(value as integer) end) as min_size_change
    from {{ ref('audience_policy') }}
    where setting in ('min_audience_size', 'size_rounding', 'size_noise', 'min_size_change')
),

{{ rederived_differences() }},

-- near an older one, which itself may serve or not
near_lists as (
    select differences.list_id, differences.advertiser_id
    from rederived_differences as differences
    cross join settings
    cross join noise
    where noise.has_noise and coalesce(differences.differing_members < settings.min_audience_size, true)
    group by differences.list_id, differences.advertiser_id
),

members as (
    select list_id, advertiser_id, user_id from {{ ref('release_tailored_audience_members') }}

    union all

    select list_id, advertiser_id, user_id from {{ ref('release_partner_audience_members') }}
),

sizes as (
    select list_id, advertiser_id, count(distinct user_id) as size
    from members
    group by list_id, advertiser_id
),

people as (
    select list_id, max(size) as size
    from sizes
    group by list_id
),

-- withheld is who has a decision that does not stand for itself
funnel_people as (
    select data_use, channel, decision, users as size
    from {{ ref('consent_funnel') }}

    union all

    select decisions.data_use, decisions.channel, 'withheld' as decision, count(distinct decisions.user_id) as size
    from {{ ref('contact_decisions') }} as decisions
    where not exists (
        select 1 from {{ ref('release_consent_funnel') }} as funnel
        where
            funnel.data_use = decisions.data_use
            and funnel.channel = decisions.channel
            and funnel.decision = decisions.decision
    )
    group by decisions.data_use, decisions.channel
),

released as (
    select 'members' as relation, list_id || ' ' || advertiser_id as row_key, size from sizes

    union all

    select 'audiences' as relation, audiences.list_id || ' ' || audiences.advertiser_id as row_key,
        coalesce(sizes.size, 0) as size
    from {{ ref('release_audiences') }} as audiences
    left join sizes
        on audiences.list_id = sizes.list_id and audiences.advertiser_id = sizes.advertiser_id
    where audiences.reported_size is not null or audiences.match_rate_band is not null

    union all

    -- behind matched and not_matched must stand people who are delivered, beside the rows
    select 'list_reports' as relation, reports.list_id || ' ' || reports.reason as row_key,
        case
            when reports.reason in ('matched', 'not_matched') then least(reports.entries, coalesce(people.size, 0))
            else reports.entries
        end as size
    from {{ ref('release_list_reports') }} as reports
    left join people
        on reports.list_id = people.list_id
    where reports.entries is not null

    union all

    select 'consent_funnel' as relation,
        funnel.data_use || ' ' || funnel.channel || ' ' || funnel.decision as row_key, funnel_people.size
    from {{ ref('release_consent_funnel') }} as funnel
    left join funnel_people
        on
            funnel.data_use = funnel_people.data_use
            and funnel.channel = funnel_people.channel
            and funnel.decision = funnel_people.decision
    where funnel.users is not null or funnel.contacts is not null
),

uploaded as (
    select marts.list_id, sum(marts.entries) as entries, max(settings.min_audience_size) as min_audience_size
    from {{ ref('list_reports') }} as marts
    cross join settings
    group by marts.list_id
),

reported as (
    select list_id, sum(entries) as entries
    from {{ ref('release_list_reports') }}
    group by list_id
)

select released.relation, released.row_key
from released
cross join settings
where coalesce(released.size < settings.min_audience_size, true)

union all

select 'audiences' as relation, audiences.list_id || ' ' || audiences.advertiser_id || ' is not rounded' as row_key
from {{ ref('release_audiences') }} as audiences
cross join settings
where
    audiences.reported_size is not null
    and not coalesce(
        audiences.reported_size >= settings.min_audience_size
        and mod(audiences.reported_size, settings.size_rounding) = 0,
        false
    )

union all

select 'audiences' as relation, audiences.list_id || ' ' || audiences.advertiser_id || ' hardly changed' as row_key
from {{ ref('release_audiences') }} as audiences
inner join {{ previous_state('published_sizes') }} as previous
    on audiences.list_id = previous.list_id and audiences.advertiser_id = previous.advertiser_id
cross join settings
where
    audiences.reported_size <> previous.reported_size
    and abs(audiences.reported_size - previous.reported_size) < settings.min_size_change
    and previous.reported_size >= settings.min_audience_size
    and mod(previous.reported_size, settings.size_rounding) = 0

union all

select 'audiences' as relation, newer.list_id || ' ' || newer.advertiser_id || ' is hardly different' as row_key
from {{ ref('release_audiences') }} as newer
inner join rederived_differences as differences
    on newer.list_id = differences.list_id and newer.advertiser_id = differences.advertiser_id
inner join {{ ref('release_audiences') }} as older
    on differences.older_list_id = older.list_id and differences.advertiser_id = older.advertiser_id
cross join settings
where
    newer.list_status = 'serving'
    and older.list_status = 'serving'
    and coalesce(differences.differing_members < settings.min_audience_size, true)

union all

select 'audiences' as relation,
    near_lists.list_id || ' ' || near_lists.advertiser_id || ' tells its own draw' as row_key
from near_lists
inner join {{ ref('release_audiences') }} as audiences
    on near_lists.list_id = audiences.list_id and near_lists.advertiser_id = audiences.advertiser_id
left join lists_behind_serving
    on
        near_lists.list_id = lists_behind_serving.list_id
        and near_lists.advertiser_id = lists_behind_serving.advertiser_id
where
    audiences.list_status
    <> case when lists_behind_serving.list_id is null then 'too_small' else 'withheld_differencing' end

union all

select 'list_reports' as relation, reports.list_id || ' matched, not its size' as row_key
from {{ ref('release_list_reports') }} as reports
where
    reports.reason = 'matched'
    and not exists (
        select 1 from {{ ref('release_audiences') }} as audiences
        where audiences.list_id = reports.list_id and audiences.reported_size = reports.entries
    )

union all

select 'list_reports' as relation, uploaded.list_id || ' does not add up' as row_key
from uploaded
left join reported
    on uploaded.list_id = reported.list_id
where
    uploaded.entries >= uploaded.min_audience_size
    and coalesce(reported.entries <> uploaded.entries, true)
