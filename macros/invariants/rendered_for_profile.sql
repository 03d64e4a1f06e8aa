{# What a profile hashes, written out per profile (DESIGN 4.2); needs channel and normalization_profile. #}
{% macro rendered_for_profile(value) -%}
    case
        when channel = 'phone' and normalization_profile = 'meta' then {{ without_leading(value, '+') }}
        when channel = 'phone' and normalization_profile in ('x', 'google', 'uid2') then {{ value }}
        when normalization_profile in ('x', 'meta') then lower({{ value }})
        when normalization_profile = 'google' and {{ matches(value, "'@g(oogle)?mail[.]com$'") }}
            then {{ folded_rest("lower(" ~ value ~ ")") }}
        when normalization_profile = 'google' then lower({{ value }})
        when normalization_profile = 'uid2' and {{ matches(value, "'@gmail[.]com$'") }} then {{ folded_rest(value) }}
        when normalization_profile = 'uid2' then {{ value }}
    end
{%- endmacro %}

{% macro folded_rest(address) -%}
    nullif(replace({{ replace_matches("split_part(" ~ address ~ ", '@', 1)", "'[+].*$'", "''") }}, '.', ''), '')
        || '@' || split_part({{ address }}, '@', 2)
{%- endmacro %}
