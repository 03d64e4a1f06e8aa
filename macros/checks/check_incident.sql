{#
    The incident assessment (DESIGN 4.6) computes keys of refused contacts, so it is let past the gate, and
    for that reason nothing may come of it: its models are there with the var `incident_assessment` only, in
    a schema and a group of their own, private; they read inputs, policy and each other, and nothing reads
    them. Sentences for the graph check, one model or exposure each.
#}
{% macro incident_faults(model) %}
    {%- set faults = [] -%}
    {%- if not var('incident_assessment') -%}
        {%- do faults.append(model.name ~ ' is enabled without the var incident_assessment') -%}
    {%- endif -%}
    {%- if model.config.group != 'incident' or model.schema != 'incident' or model.access != 'private' -%}
        {%- do faults.append(model.name ~ ' must be private, in the group and in the schema incident, or in neither') -%}
    {%- endif -%}
    {%- for parent in model.depends_on.nodes if parent in graph.nodes -%}
        {%- if graph.nodes[parent].schema not in ['incident', 'policy', 'sample'] -%}
            {%- do faults.append(
                parent.split('.')[-1] ~ ' -> ' ~ model.name ~ ': the incident models read inputs, policy and each other'
            ) -%}
        {%- endif -%}
    {%- endfor -%}
    {{ return(faults) }}
{% endmacro %}

{% macro is_incident(node) %}
    {{ return(node.resource_type == 'model' and 'incident' in [node.config.group, node.schema]) }}
{% endmacro %}

{#
    Who reads a model of the group, or the input of this name, from outside the group: models, seeds, snapshots
    and exposures as paths. Tests may read, since they write nothing.
#}
{% macro readers_outside(group, input=none) %}
    {%- set paths = [] -%}
    {%- for node in (graph.nodes.values() | list) + (graph.exposures.values() | list) -%}
        {%- for parent in node.get('depends_on', {}).get('nodes', []) if node.resource_type != 'test' -%}
            {%- set is_read = graph.nodes.get(parent, {}).get('config', {}).get('group') == group -%}
            {%- if node.config.group != group and (is_read or parent.split('.')[-1] == input) -%}
                {%- do paths.append(parent.split('.')[-1] ~ ' -> ' ~ node.name) -%}
            {%- endif -%}
        {%- endfor -%}
    {%- endfor -%}
    {{ return(paths) }}
{% endmacro %}

{% macro incident_reader_faults() %}
    {%- set faults = [] -%}
    {%- for path in readers_outside('incident', 'raw_legacy_matches') -%}
        {%- do faults.append(path ~ ': nothing may depend on the incident assessment') -%}
    {%- endfor -%}
    {{ return(faults) }}
{% endmacro %}

{# Names of what the warehouse holds in a schema. #}
{% macro relations_in(schema) %}
    {%- set names = [] -%}
    {%- for relation in relations_of([schema]) -%}{%- do names.append(relation.split('.')[-1]) -%}{%- endfor -%}
    {{ return(names) }}
{% endmacro %}

{# Names of what the enabled models and seeds make there. #}
{% macro nodes_in(schema) %}
    {%- set nodes = graph.nodes.values() | selectattr('resource_type', 'in', ['model', 'seed']) -%}
    {{ return(nodes | selectattr('schema', 'equalto', schema) | map(attribute='alias') | list) }}
{% endmacro %}

{#
    A build without the var leaves nothing of an assessment behind: its schema goes, with the tables and the
    log's seed, and so does the view over the log. Nothing is lost: the same inputs and as_of make it again.
#}
{% macro leave_no_incident() %}
    {%- if execute and flags.WHICH in ['build', 'run'] and not var('incident_assessment') -%}
        {%- do adapter.drop_schema(api.Relation.create(database=target.database or none, schema='incident')) -%}
        {%- do adapter.drop_relation(api.Relation.create(
            database=target.database or none, schema='input_views', identifier='raw_legacy_matches', type='view'
        )) -%}
    {%- endif -%}
{% endmacro %}
