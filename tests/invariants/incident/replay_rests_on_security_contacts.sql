-- Twin of affected_users_are_within_the_bounds: a returned row is somebody in the bounds without a security
-- contact, or on a list without an added row, so that counting everybody is no way to pass.

select replay.user_id, replay.list_id
from {{ ref('incident_replay') }} as replay
where
    not exists (
        select 1 from {{ input_table('raw_contacts') }} as contacts
        inner join {{ ref('purposes') }} as purposes
            on contacts.purpose = purposes.purpose
        where contacts.user_id = replay.user_id and purposes.purpose_class = 'security'
    )
    or not exists (
        select 1 from {{ input_table('raw_list_uploads') }} as uploads
        inner join {{ input_table('raw_list_entries') }} as entries
            on uploads.upload_id = entries.upload_id
        where uploads.list_id = replay.list_id and uploads.operation in ('append', 'replace')
    )
