-- A returned row is a user whom the log shows affected on a list and whom the replay, which does not read the
-- log, leaves out of its upper bound there.

select matches.match_id
from {{ ref('incident_matches') }} as matches
where
    matches.match_class = 'security_only'
    and not exists (
        select 1 from {{ ref('incident_replay') }} as replay
        where replay.user_id = matches.user_id and replay.list_id = matches.list_id
    )
