with list_entry_keys as (
    select
        list_id, upload_id, upload_position, row_number, operation, channel, match_key, entry_fault
    from {{ ref('list_entry_keys') }}
),

folded_list_entries as (
    select list_id, channel, match_key, is_membership_expired
    from {{ ref('folded_list_entries') }}
),

matched_keys as (
    select distinct list_id, channel, match_key
    from {{ ref('list_matches') }}
),

standing as (
    select
        list_entry_keys.*,
        folded_list_entries.match_key is not null as has_current_key,
        coalesce(folded_list_entries.is_membership_expired, false) as is_membership_expired,
        matched_keys.match_key is not null as is_matched,
        row_number() over (
            partition by
                list_entry_keys.list_id, list_entry_keys.channel, list_entry_keys.match_key,
                list_entry_keys.operation in ('append', 'replace')
            order by list_entry_keys.upload_position, list_entry_keys.row_number
        ) as key_rank
    from list_entry_keys
    left join folded_list_entries
        on
            list_entry_keys.list_id = folded_list_entries.list_id
            and list_entry_keys.channel = folded_list_entries.channel
            and list_entry_keys.match_key = folded_list_entries.match_key
    left join matched_keys
        on
            list_entry_keys.list_id = matched_keys.list_id
            and list_entry_keys.channel = matched_keys.channel
            and list_entry_keys.match_key = matched_keys.match_key
),

-- DESIGN 4.4: the first that applies. not_matched is one bucket on purpose: to tell "no such
-- account" from "held for security" would need the join that this project forbids
reasoned as (
    select
        list_id,
        case
            when entry_fault is not null then entry_fault
            when operation in ('remove', 'remove_all') then 'removal_row'
            when match_key is null then 'not_matched'
            when not has_current_key then 'superseded'
            when is_membership_expired then 'membership_expired'
            when key_rank > 1 then 'duplicate_in_list'
            when is_matched then 'matched'
            else 'not_matched'
        end as reason
    from standing
),

counted as (
    select
        list_id,
        reason,
        count(*) as entries
    from reasoned
    group by list_id, reason
)

select
    list_id,
    reason,
    entries,
    cast(100.0 * entries / sum(entries) over (partition by list_id) as double) as share_percent
from counted
