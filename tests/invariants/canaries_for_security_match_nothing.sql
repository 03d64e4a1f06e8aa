-- Canaries are accounts whose user_id begins with `canary-`: planted by hand, and in the sample. A returned
-- row is an audience that a canary reached although it gave its contacts for security alone. Its values
-- stand in every list of the sample, in twenty spellings.

select list_id, advertiser_id, user_id
from {{ ref('member_explanations') }}
where user_id like 'canary-security%'
