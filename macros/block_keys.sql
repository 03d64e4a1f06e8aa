{#
    The block keys under which a valid contact of the relation may meet a refusal, one row each (DESIGN 4.3):
    a phone number whose country nobody knows meets another by its digits without leading zeros, whether
    they were written with the calling code, as the national number, or behind the national prefix.
#}
{% macro meeting_block_keys(relation, columns) %}
    select {{ columns }}, block_key
    from {{ relation }}
    {%- for digits in ["substr(normalized_value, 2)", without_leading('national_number', '0'), without_leading('trunk_number', '0')] %}

    union all

    select {{ columns }}, {{ digits }} as block_key
    from {{ relation }}
    where channel = 'phone'
    {%- endfor %}
{% endmacro %}
