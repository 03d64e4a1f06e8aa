{#
    Two rules about lists once more, by another way than audience_eligibilities and
    lists_clear_of_sensitive_topics: what the invariants hold members against.
#}

{# Whether codes with | between them allow a data use: they are the alternatives of one pattern. #}
{% macro rederived_permission(codes, data_use) -%}
    {{ matches(data_use ~ " || '.'", "'^(' || replace(" ~ codes ~ ", '.', '[.]') || ')[.]'") }}
{%- endmacro %}

{# Whether a list's name is about a topic of the seed, or about what nobody can tell: by position, not by likeness. #}
{% macro rederived_sensitivity(name) -%}
    {%- set words -%}
        ' ' || {{ replace_matches("lower(" ~ without_accents(name) ~ ")", "'[^a-z0-9]+'", "' '") }} || ' '
    {%- endset -%}
    (
        coalesce(not {{ matches(words, "'[a-z]'") }}, true)
        or exists (
            select 1 from {{ ref('sensitive_list_topics') }} as topics
            where position(' ' || replace(topics.name_pattern || ' ', '% ', '') in {{ words }}) > 0
        )
    )
{%- endmacro %}
