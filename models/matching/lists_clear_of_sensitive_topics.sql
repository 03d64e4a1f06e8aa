with audience_lists as (
    select list_id, list_name
    from {{ ref('stg_audience_lists') }}
),

sensitive_list_topics as (
    select name_pattern
    from {{ ref('sensitive_list_topics') }}
),

unaccented as (
    select list_id, {{ without_accents('list_name') }} as unaccented_name
    from audience_lists
),

-- words of a to z and digits with a space around each, so that no accent, case or punctuation hides one and
-- a pattern of whole words does not see them inside others
spelled as (
    select
        list_id,
        ' ' || {{ replace_matches('lower(unaccented_name)', "'[^a-z0-9]+'", "' '") }} || ' ' as name_words
    from unaccented
),

-- what no pattern can read may be about anything: no name, or one without a letter that they are written in
clear_lists as (
    select spelled.list_id
    from spelled
    where
        {{ matches('spelled.name_words', "'[a-z]'") }}
        and not exists (
            select 1 from sensitive_list_topics
            where spelled.name_words like '% ' || sensitive_list_topics.name_pattern || ' %'
        )
)

select * from clear_lists
