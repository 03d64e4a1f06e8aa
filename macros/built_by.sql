{#
    The id of the dbt run that builds, as a literal: scripts/publish.py publishes a warehouse only with the
    artifacts of the very run that built it.
#}
{% macro built_by() -%}
    cast('{{ invocation_id }}' as varchar)
{%- endmacro %}
