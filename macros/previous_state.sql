{#
    What the last whole build left in the schema `state`, for a model that compares with it; no row before
    the first. The columns are those of the contract of the model `state_<name>`.
#}
{% macro previous_state(name) -%}
    {%- if execute -%}
        {%- set model = graph.nodes['model.' ~ project_name ~ '.state_' ~ name] -%}
        {%- set relation = adapter.get_relation(model.database, model.schema, model.alias) -%}
        {%- if relation -%}
            {{ relation }}
        {%- else -%}
            (
                select
                {%- for column in model.columns.values() %}
                    cast(null as {{ column.data_type }}) as {{ column.name }}{{ "," if not loop.last }}
                {%- endfor %}
                where false
            )
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}
