with list_entry_keys as (
    select list_id, channel, rendering, match_key, entry_fault, operation, uploaded_at, upload_position
    from {{ ref('list_entry_keys') }}
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
        list_id,
        channel,
        rendering,
        match_key,
        entry_fault,
        count(*) as entries,
        sum(case when operation in ('append', 'replace') then 1 else 0 end) as added_entries,
        max(case when operation in ('append', 'replace') then upload_position end) as added_at_position,
        max(case when operation in ('append', 'replace') then uploaded_at end) as last_added_at,
        max(case when operation = 'remove' then upload_position end) as removed_at_position
    from list_entry_keys
    group by list_id, channel, rendering, match_key, entry_fault
),

standing as (
    select
        folded.list_id,
        audience_lists.data_use,
        folded.channel,
        folded.rendering,
        folded.match_key,
        folded.entry_fault,
        folded.entries,
        folded.added_entries,
        coalesce(
            folded.match_key is not null
            and folded.added_at_position >= coalesce(emptied_lists.emptied_at_position, 0)
            and folded.added_at_position > coalesce(folded.removed_at_position, 0),
            false
        ) as is_standing,
        folded.added_at_position,
        folded.last_added_at,
        {{ add_days('folded.last_added_at', 'audience_lists.membership_days') }} as membership_ends_at
    from folded
    inner join audience_lists
        on folded.list_id = audience_lists.list_id
    left join emptied_lists
        on folded.list_id = emptied_lists.list_id
)

select
    list_id,
    data_use,
    channel,
    rendering,
    match_key,
    entry_fault,
    cast(entries as bigint) as entries,
    cast(added_entries as bigint) as added_entries,
    is_standing,
    is_standing and coalesce(membership_ends_at > {{ as_of() }}, true) as is_current,
    added_at_position,
    last_added_at,
    membership_ends_at
from standing
