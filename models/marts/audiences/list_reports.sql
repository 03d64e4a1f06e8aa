with folded_list_entries as (
    select list_id, channel, match_key, entry_fault, entries, added_entries, is_standing, is_current
    from {{ ref('folded_list_entries') }}
),

matched_keys as (
    select distinct list_id, channel, match_key
    from {{ ref('list_matches') }}
),

-- DESIGN 4.4: the first that applies. not_matched is one bucket on purpose: to tell "no such
-- account" from "held for security" would need the join that this project forbids
reasoned as (
    select
        folded_list_entries.list_id,
        case
            when folded_list_entries.entry_fault is not null then folded_list_entries.entry_fault
            when folded_list_entries.match_key is null then 'not_matched'
            when not folded_list_entries.is_standing then 'superseded'
            when not folded_list_entries.is_current then 'membership_expired'
            when matched_keys.match_key is not null then 'matched'
            else 'not_matched'
        end as reason,
        folded_list_entries.entry_fault is null as is_read,
        folded_list_entries.is_current,
        folded_list_entries.entries,
        folded_list_entries.added_entries
    from folded_list_entries
    left join matched_keys
        on
            folded_list_entries.list_id = matched_keys.list_id
            and folded_list_entries.channel = matched_keys.channel
            and folded_list_entries.match_key = matched_keys.match_key
),

-- one added row holds a current key, the others are its duplicates; what takes keys away holds none
split as (
    select
        list_id,
        reason,
        case when not is_read then entries when is_current then 1 else added_entries end as entries
    from reasoned

    union all

    select list_id, 'duplicate_in_list' as reason, added_entries - 1 as entries
    from reasoned
    where is_current

    union all

    select list_id, 'removal_row' as reason, entries - added_entries as entries
    from reasoned
    where is_read
),

counted as (
    select
        list_id,
        reason,
        cast(sum(entries) as bigint) as entries
    from split
    where entries > 0
    group by list_id, reason
)

select
    list_id,
    reason,
    entries,
    100 * cast(entries as double precision) / sum(entries) over (partition by list_id) as share_percent
from counted
