{{ config(group = "audiences") }}
-- A returned row is a membership of a list whose name, in the raw input, is about a sensitive topic of the
-- policy seed or cannot be read.

with sensitive_lists as (
    select lists.list_id
    from {{ input_table('raw_audience_lists') }} as lists
    where {{ rederived_sensitivity('lists.name') }}
)

select explanations.list_id, explanations.advertiser_id, explanations.user_id
from {{ ref('member_explanations') }} as explanations
inner join sensitive_lists
    on explanations.list_id = sensitive_lists.list_id
