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

{#
    One text for a set of ids, whatever their order: another set gives another text, but for a collision of
    128 bits. An aggregate over rows in which each id stands once.
#}
{% macro order_free_digest(id) -%}
    cast(count(*) as varchar)
        || '-' || cast(sum(md5_number_lower({{ id }})) as varchar)
        || '-' || cast(sum(md5_number_upper({{ id }})) as varchar)
{%- endmacro %}

{# A number from a text and the key of sizes (scripts/size_noise.py), uniform from 0 on; null without a key. #}
{% macro keyed_number(text) -%}
    keyed_number({{ text }})
{%- endmacro %}

{% macro add_days(moment, days) -%}
    {{ moment }} + to_days({{ days }})
{%- endmacro %}
