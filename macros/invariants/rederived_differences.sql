{#
    How audiences of one advertiser differ, once more, from the members in the marts and the raw lists, by
    another way than the matching models: nobody is paired with anybody, those who stand in one list of a
    pair alone are counted. Of pairs whose sizes are further apart than the minimum and the noise together,
    nothing is asked. Ends in `rederived_differences`: list_id, advertiser_id, older_list_id and
    differing_members. Needs `settings`.
#}
{% macro rederived_differences() %}
members_of_marts as (
    select list_id, advertiser_id, user_id from {{ ref('tailored_audience_members') }}

    union all

    select list_id, advertiser_id, user_id from {{ ref('partner_audience_members') }}
),

aged_audiences as (
    select members.list_id, members.advertiser_id, lists.created_at, count(*) as size
    from members_of_marts as members
    inner join {{ input_table('raw_audience_lists') }} as lists
        on members.list_id = lists.list_id
    group by members.list_id, members.advertiser_id, lists.created_at
),

-- every pair twice, once with each of its lists as the holder of members
held_pairs as (
    select newer.list_id, newer.advertiser_id, older.list_id as older_list_id,
        case when holders.is_older then older.list_id else newer.list_id end as holder_list_id
    from aged_audiences as newer
    inner join aged_audiences as older
        on newer.advertiser_id = older.advertiser_id and newer.list_id <> older.list_id
    cross join settings
    cross join (select false as is_older union all select true as is_older) as holders
    where
        (older.created_at < newer.created_at or (older.created_at = newer.created_at and older.list_id < newer.list_id))
        and newer.size < older.size + settings.min_audience_size + settings.size_noise + settings.size_rounding
        and older.size < newer.size + settings.min_audience_size + settings.size_noise + settings.size_rounding
),

held_members as (
    select held_pairs.list_id, held_pairs.advertiser_id, held_pairs.older_list_id, members.user_id, count(*) as holders
    from held_pairs
    inner join members_of_marts as members
        on held_pairs.holder_list_id = members.list_id and held_pairs.advertiser_id = members.advertiser_id
    group by held_pairs.list_id, held_pairs.advertiser_id, held_pairs.older_list_id, members.user_id
),

rederived_differences as (
    select list_id, advertiser_id, older_list_id, sum(case when holders = 1 then 1 else 0 end) as differing_members
    from held_members
    group by list_id, advertiser_id, older_list_id
)
{% endmacro %}
