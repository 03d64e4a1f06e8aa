{#
    Refuses a run that could change what is published without every guard before it, and a warehouse in
    which something is readable that no model publishes any more (DESIGN sections 2 and 6). Runs before
    any SQL but two looks at the warehouse's catalog.
#}
{% macro check_published() %}
    {%- if execute -%}
        {%- set faults = selection_faults() + leftover_faults() -%}
        {%- if faults -%}
            {{ exceptions.raise_compiler_error("nothing may be published:\n  " ~ faults | join("\n  ")) }}
        {%- endif -%}
    {%- endif -%}
{% endmacro %}

{# A run that selects a published model selects every model and every data test, too. #}
{% macro selection_faults() %}
    {%- set selected = published_models() | map(attribute='unique_id') | select('in', selected_resources) | list -%}
    {%- set missing = [] -%}
    {%- for node in graph.nodes.values() | sort(attribute='name') if selected and flags.WHICH != 'test' -%}
        {%- if node.resource_type in ['model', 'seed', 'test'] and node.unique_id not in selected_resources -%}
            {%- do missing.append(node.name) -%}
        {%- endif -%}
    {%- endfor -%}
    {%- if missing -%}
        {{ return([
            missing | length ~ ' models, seeds and guards are left out by selection (' ~ missing[:3] | join(', ')
            ~ ', ...): a run that publishes is a whole dbt build; to run a part, exclude path:models/published'
        ]) }}
    {%- endif -%}
    {{ return([]) }}
{% endmacro %}

{# dbt never drops the table of a model that was deleted. #}
{% macro leftover_faults() %}
    {%- set faults = [] -%}
    {%- set known = [] -%}
    {%- for model in published_models() -%}
        {%- do known.append(model.schema ~ '.' ~ model.alias) -%}
    {%- endfor -%}
    {%- for relation in published_relations() if relation not in known -%}
        {%- do faults.append(relation ~ ' is still readable and no model publishes it: drop it') -%}
    {%- endfor -%}
    {{ return(faults) }}
{% endmacro %}

{# What the warehouse holds in the published schemas, as schema.name. #}
{% macro published_relations() %}
    {{ return(relations_of(['published', 'delivery', 'state'])) }}
{% endmacro %}
