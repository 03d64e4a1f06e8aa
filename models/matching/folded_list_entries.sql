with list_entry_keys as (
    select list_id, channel, rendering, match_key, operation, uploaded_at, upload_position
    from {{ ref('list_entry_keys') }}
    where match_key is not null
),

ordered_list_uploads as (
    select list_id, operation, upload_position
    from {{ ref('ordered_list_uploads') }}
),

audience_lists as (
    select list_id, data_use, membership_days
    from {{ ref('stg_audience_lists') }}
),

-- replace sets and remove_all empties: what stood before is gone
emptied_lists as (
    select
        list_id,
        max(upload_position) as emptied_at_position
    from ordered_list_uploads
    where operation in ('replace', 'remove_all')
    group by list_id
),

folded as (
    select
        list_entry_keys.list_id,
        list_entry_keys.channel,
        list_entry_keys.rendering,
        list_entry_keys.match_key,
        max(case when list_entry_keys.operation in ('append', 'replace') then list_entry_keys.upload_position end)
            as added_at_position,
        max(case when list_entry_keys.operation in ('append', 'replace') then list_entry_keys.uploaded_at end)
            as last_added_at,
        max(case when list_entry_keys.operation = 'remove' then list_entry_keys.upload_position end)
            as removed_at_position
    from list_entry_keys
    group by
        list_entry_keys.list_id, list_entry_keys.channel, list_entry_keys.rendering, list_entry_keys.match_key
),

standing as (
    select
        folded.list_id,
        audience_lists.data_use,
        folded.channel,
        folded.rendering,
        folded.match_key,
        folded.last_added_at,
        {{ add_days('folded.last_added_at', 'audience_lists.membership_days') }} as membership_ends_at
    from folded
    inner join audience_lists
        on folded.list_id = audience_lists.list_id
    left join emptied_lists
        on folded.list_id = emptied_lists.list_id
    where
        folded.added_at_position >= coalesce(emptied_lists.emptied_at_position, 0)
        and folded.added_at_position > coalesce(folded.removed_at_position, 0)
)

select
    *,
    coalesce(membership_ends_at <= {{ as_of() }}, false) as is_membership_expired
from standing
