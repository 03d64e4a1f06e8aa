{#
    How audiences of one advertiser differ, once more, from the members in the marts and the raw lists, by
    another way than the matching models: those who stand in one list of a pair alone are counted. Of pairs
    whose sizes are further apart than the minimum and the noise together, nothing is asked. Ends in
    `rederived_differences`: list_id, advertiser_id, older_list_id and differing_members; `lists_behind_serving`:
    list_id and advertiser_id where an older list of the advertiser serves; `noise`: whether sizes were noised.
    Needs `settings`.
#}
{% macro rederived_differences() %}
noise as (
    select {{ has_size_key() }} or count(*) > 0 as has_noise from {{ ref('release_published_sizes') }}
),

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

aged_pairs as (
    select newer.list_id, newer.advertiser_id, older.list_id as older_list_id,
        newer.size + older.size as members_of_both
    from aged_audiences as newer
    inner join aged_audiences as older
        on newer.advertiser_id = older.advertiser_id and newer.list_id <> older.list_id
    cross join settings
    where
        (older.created_at < newer.created_at or (older.created_at = newer.created_at and older.list_id < newer.list_id))
        and newer.size < older.size + settings.min_audience_size + settings.size_noise + settings.size_rounding
        and older.size < newer.size + settings.min_audience_size + settings.size_noise + settings.size_rounding
),

meeting_lists as (
    select distinct members.list_id, members.advertiser_id, others.list_id as older_list_id
    from members_of_marts as members
    inner join members_of_marts as others
        on members.advertiser_id = others.advertiser_id and members.user_id = others.user_id
),

-- every pair that has somebody in common twice, once with each of its lists as the holder of members
held_pairs as (
    select aged_pairs.list_id, aged_pairs.advertiser_id, aged_pairs.older_list_id,
        case when holders.is_older then aged_pairs.older_list_id else aged_pairs.list_id end as holder_list_id
    from aged_pairs
    inner join meeting_lists
        on
            aged_pairs.list_id = meeting_lists.list_id
            and aged_pairs.advertiser_id = meeting_lists.advertiser_id
            and aged_pairs.older_list_id = meeting_lists.older_list_id
    cross join (select false as is_older union all select true as is_older) as holders
),

held_members as (
    select held_pairs.list_id, held_pairs.advertiser_id, held_pairs.older_list_id, members.user_id, count(*) as holders
    from held_pairs
    inner join members_of_marts as members
        on held_pairs.holder_list_id = members.list_id and held_pairs.advertiser_id = members.advertiser_id
    group by held_pairs.list_id, held_pairs.advertiser_id, held_pairs.older_list_id, members.user_id
),

lone_members as (
    select list_id, advertiser_id, older_list_id, sum(case when holders = 1 then 1 else 0 end) as members
    from held_members
    group by list_id, advertiser_id, older_list_id
),

rederived_differences as (
    select aged_pairs.list_id, aged_pairs.advertiser_id, aged_pairs.older_list_id,
        coalesce(lone_members.members, aged_pairs.members_of_both) as differing_members
    from aged_pairs
    left join lone_members
        on
            aged_pairs.list_id = lone_members.list_id
            and aged_pairs.advertiser_id = lone_members.advertiser_id
            and aged_pairs.older_list_id = lone_members.older_list_id
),

serving_by_age as (
    select aged_audiences.advertiser_id, aged_audiences.list_id, aged_audiences.created_at,
        row_number() over (
            partition by aged_audiences.advertiser_id order by aged_audiences.created_at, aged_audiences.list_id
        ) as age_rank
    from aged_audiences
    inner join {{ ref('release_audiences') }} as audiences
        on
            aged_audiences.list_id = audiences.list_id
            and aged_audiences.advertiser_id = audiences.advertiser_id
    where audiences.list_status = 'serving'
),

lists_behind_serving as (
    select newer.list_id, newer.advertiser_id
    from aged_audiences as newer
    inner join serving_by_age as older
        on newer.advertiser_id = older.advertiser_id and older.age_rank = 1
    where older.created_at < newer.created_at or (older.created_at = newer.created_at and older.list_id < newer.list_id)
)
{% endmacro %}
