with security_only_matches as (
    select user_id, list_id, channel, purpose, matched_at
    from {{ ref('incident_matches') }}
    where match_class = 'security_only'
),

affected as (
    select
        user_id,
        min(matched_at) as first_matched_at,
        max(matched_at) as last_matched_at,
        count(*) as matches,
        {{ join_distinct('list_id') }} as list_ids,
        {{ join_distinct('purpose') }} as purposes,
        bool_or(channel = 'email') as matched_email,
        bool_or(channel = 'phone') as matched_phone
    from security_only_matches
    group by user_id
)

select * from affected
