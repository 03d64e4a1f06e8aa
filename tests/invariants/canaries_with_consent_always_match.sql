-- Twin of canaries_for_security_match_nothing: a returned row is an audience that may have members and
-- that a fully consenting canary did not reach, whose values stand in every list once all its uploads are in.

with canaries as (
    select user_id
    from {{ input_table('raw_users') }}
    where user_id like 'canary-consented%'
),

audiences as (
    select list_id, advertiser_id
    from {{ ref('audiences') }}
    where list_status in ('serving', 'too_small', 'withheld_differencing')
),

expected as (
    select audiences.list_id, audiences.advertiser_id, canaries.user_id
    from audiences
    cross join canaries
)

select expected.list_id, expected.advertiser_id, expected.user_id
from expected
where not exists (
    select 1 from {{ ref('member_explanations') }} as explanations
    where
        explanations.list_id = expected.list_id
        and explanations.advertiser_id = expected.advertiser_id
        and explanations.user_id = expected.user_id
)
