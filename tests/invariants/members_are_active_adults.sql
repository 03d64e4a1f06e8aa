-- A returned row is a member whom the raw input does not say to be an active adult.

with members as (
    select list_id, user_id from {{ ref('tailored_audience_members') }}

    union all

    select list_id, user_id from {{ ref('partner_audience_members') }}
),

active_adults as (
    select user_id
    from {{ input_table('raw_users') }}
    where account_status = 'active' and is_adult
)

select members.list_id, members.user_id
from members
where not exists (
    select 1 from active_adults
    where active_adults.user_id = members.user_id
)
