{#
    Fails with one row per column of the relation that could hold an identifier: by its name, unless it is
    a flag, or by content that reads as an e-mail address, an E.164 number or a SHA-256. Never selects a value.
#}
{% test no_identifiers(model) %}
{%- set columns = adapter.get_columns_in_relation(model) if execute else [] -%}
with suspects as (
    select cast(null as varchar) as column_name
    where false
    {%- for column in columns %}

    union all
    {% if not column.dtype | upper == 'BOOLEAN' and modules.re.search('(^|_)(values?|identifiers?|hash(ed|es)?|digest|sha[0-9]*|keys?|e?mails?|phones?)(_|$)', column.name | lower) %}
    select '{{ column.name }}' as column_name
    {%- else %}
    select '{{ column.name }}' as column_name
    where exists (
        select 1 from {{ model }}
        where {{ reads_as_identifier(column.name, modules.re.search('_ids?$', column.name), column.is_string() or column.dtype == 'string') }}
    )
    {%- endif %}
    {%- endfor %}
)

select column_name
from suspects
{% endtest %}
