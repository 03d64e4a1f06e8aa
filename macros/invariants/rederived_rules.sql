{#
    Two rules about lists once more, by another way than audience_eligibilities and
    lists_clear_of_sensitive_topics: what the invariants hold members against.
#}

{# Whether codes with | between them allow a data use: they are the alternatives of one pattern. #}
{% macro rederived_permission(codes, data_use) -%}
    {{ matches(data_use ~ " || '.'", "'^(' || replace(" ~ codes ~ ", '.', '[.]') || ')[.]'") }}
{%- endmacro %}

{# Whether a list's name is about a topic of the seed, or about what nobody can tell; the name is not folded first. #}
{% macro rederived_sensitivity(name) -%}
    (
        coalesce(not {{ matches("lower(" ~ without_accents(name) ~ ")", "'[a-z]'") }}, true)
        or exists (
            select 1 from {{ ref('sensitive_list_topics') }} as topics
            where {{ matches(
                "lower(" ~ without_accents(name) ~ ")",
                "'(^|[^a-z0-9])(' || replace(replace(topics.name_pattern, ' ?', '[^a-z0-9]*'), ' ', '[^a-z0-9]+')"
                ~ " || ')($|[^a-z0-9])'"
            ) }}
        )
    )
{%- endmacro %}
