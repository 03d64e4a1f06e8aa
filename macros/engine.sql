{# What engines spell differently, and nothing else. #}

{% macro matches(text, pattern) -%}
    regexp_matches({{ text }}, {{ pattern }})
{%- endmacro %}

{% macro replace_matches(text, pattern, replacement) -%}
    regexp_replace({{ text }}, {{ pattern }}, {{ replacement }}, 'g')
{%- endmacro %}

{% macro first_match(text, pattern) -%}
    nullif(regexp_extract({{ text }}, {{ pattern }}), '')
{%- endmacro %}

{% macro sha256_hex(text) -%}
    sha256({{ text }})
{%- endmacro %}

{% macro compose_characters(text) -%}
    {#- Unicode normalization form C; this engine has no NFKC -#}
    nfc_normalize({{ text }})
{%- endmacro %}

{% macro without_accents(text) -%}
    strip_accents({{ text }})
{%- endmacro %}

{% macro base64_to_hex(text) -%}
    lower(hex(from_base64({{ text }})))
{%- endmacro %}

{% macro join_distinct(text) -%}
    {#- The distinct texts of a group in order, with a bar between them -#}
    string_agg(distinct {{ text }}, '|' order by {{ text }})
{%- endmacro %}

{% macro add_days(moment, days) -%}
    {{ moment }} + to_days({{ days }})
{%- endmacro %}
