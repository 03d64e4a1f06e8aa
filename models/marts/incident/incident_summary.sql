with security_only_matches as (
    select user_id, list_kind, channel, purpose, cast(date_trunc('month', matched_at) as date) as matched_month
    from {{ ref('incident_matches') }}
    where match_class = 'security_only'
),

counted as (
    select
        purpose,
        channel,
        list_kind,
        matched_month,
        count(*) as matches,
        count(distinct user_id) as users
    from security_only_matches
    group by purpose, channel, list_kind, matched_month
)

select * from counted
