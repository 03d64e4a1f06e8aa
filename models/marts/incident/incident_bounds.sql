with incident_replay as (
    select user_id, reason, reason_rank, is_lower_bound
    from {{ ref('incident_replay') }}
),

-- a user counts once, where the replay is surest
ranked_users as (
    select
        user_id,
        reason,
        reason_rank,
        is_lower_bound,
        row_number() over (partition by user_id order by reason_rank) as user_rank
    from incident_replay
),

counted as (
    select
        reason,
        reason_rank,
        is_lower_bound,
        count(distinct user_id) as users
    from ranked_users
    where user_rank = 1
    group by reason, reason_rank, is_lower_bound
)

select
    reason,
    reason_rank,
    is_lower_bound,
    users,
    cast(sum(users) over (order by reason_rank rows unbounded preceding) as bigint) as users_up_to_here
from counted
