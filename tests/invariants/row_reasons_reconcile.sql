-- A returned row is a list whose reasons do not add up to its uploaded rows in the raw input, or to 100 %.

with uploaded as (
    select uploads.list_id, count(*) as entries
    from {{ input_table('raw_list_entries') }} as entries
    inner join {{ input_table('raw_list_uploads') }} as uploads
        on entries.upload_id = uploads.upload_id
    inner join {{ input_table('raw_audience_lists') }} as lists
        on uploads.list_id = lists.list_id
    inner join {{ ref('list_kinds') }} as list_kinds
        on lists.list_kind = list_kinds.list_kind
    where uploads.uploaded_at <= {{ as_of() }}
    group by uploads.list_id
),

reported as (
    select list_id, sum(entries) as entries, sum(share_percent) as share_percent
    from {{ ref('list_reports') }}
    group by list_id
)

select coalesce(uploaded.list_id, reported.list_id) as list_id
from uploaded
full outer join reported
    on uploaded.list_id = reported.list_id
where
    uploaded.list_id is null
    or reported.list_id is null
    or uploaded.entries <> reported.entries
    or abs(reported.share_percent - 100) > 0.000001
