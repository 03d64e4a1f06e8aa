{{ config(group = "audiences") }}
-- A returned row is a membership of a list whose name, in the raw input, is about a sensitive topic of the
-- policy seed or cannot be read.

select explanations.list_id, explanations.advertiser_id, explanations.user_id
from {{ ref('member_explanations') }} as explanations
inner join {{ input_table('raw_audience_lists') }} as lists
    on explanations.list_id = lists.list_id
where {{ rederived_sensitivity('lists.name') }}
