{#
    `dbt show` prints rows to the terminal and to logs/dbt.log, and so may show marts, what is published, policy
    and tests, which select ids, but nothing that holds contacts' values or keys (DESIGN 4.5). Stands in for dbt's
    own macro.
#}
{% macro get_show_sql(compiled_code, sql_header, limit) -%}
    {%- set shown = [model.unique_id] if model.unique_id in graph.nodes else model.depends_on.nodes -%}
    {%- set shown = [] if model.resource_type == 'test' else shown -%}
    {%- for key in shown if graph.nodes.get(key, {}).schema not in ['policy', 'marts', 'release', 'published', 'delivery'] -%}
        {{ exceptions.raise_compiler_error(
            'dbt show: ' ~ key.split('.')[-1] ~ ' may hold values or keys of contacts, which would stay in the log'
        ) }}
    {%- endfor -%}
    {{ dbt.get_show_sql(compiled_code, sql_header, limit) }}
{%- endmacro %}
