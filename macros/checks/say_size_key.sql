{# Whether the build has the key of scripts/size_noise.py; without it there is no noise. #}
{% macro has_size_key() -%}
    {{ return(execute and ask('select ' ~ keyed_number("''") ~ ' is not null').rows[0][0]) }}
{%- endmacro %}

{# Without noise no size leaves; that is said at every run. #}
{% macro say_size_key() %}
    {%- if not has_size_key() -%}
        {%- do log(
            'CONSENTED_AUDIENCES_SIZE_KEY is not set to 32 characters or more: sizes and match rates are withheld,'
            ~ ' and thresholds are exact',
            info=true
        ) -%}
    {%- endif -%}
{% endmacro %}
