{# Without the key of scripts/size_noise.py there is no noise, so no size leaves; that is said at every run. #}
{% macro say_size_key() %}
    {%- if run_query('select ' ~ keyed_number("''") ~ ' is null').rows[0][0] -%}
        {%- do log(
            'CONSENTED_AUDIENCES_SIZE_KEY is not set to 32 characters or more: sizes and match rates are withheld,'
            ~ ' and thresholds are exact',
            info=true
        ) -%}
    {%- endif -%}
{% endmacro %}
