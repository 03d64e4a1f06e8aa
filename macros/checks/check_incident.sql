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

{# Models and exposures outside the group that read one of its models, or the log. Its tests may, and write nothing. #}
{% macro incident_reader_faults() %}
    {%- set faults = [] -%}
    {%- for node in (graph.nodes.values() | list) + (graph.exposures.values() | list) -%}
        {%- if node.resource_type != 'test' and not is_incident(node) -%}
            {%- for parent in node.depends_on.nodes | default([]) -%}
                {%- if is_incident(graph.nodes.get(parent, {'config': {}})) or parent.split('.')[-1] == 'raw_legacy_matches' -%}
                    {%- do faults.append(
                        parent.split('.')[-1] ~ ' -> ' ~ node.name ~ ': nothing may depend on the incident assessment'
                    ) -%}
                {%- endif -%}
            {%- endfor -%}
        {%- endif -%}
    {%- endfor -%}
    {{ return(faults) }}
{% endmacro %}

{#
    A build without the var leaves nothing of an assessment behind: its schema goes, with the tables and the
    log's seed, and so does the view over the log. Nothing is lost: the same inputs and as_of make it again.
#}
{% macro leave_no_incident() %}
    {%- if execute and flags.WHICH in ['build', 'run'] and not var('incident_assessment') -%}
        {%- do run_query('drop schema if exists incident cascade') -%}
        {%- do run_query('drop view if exists input_views.raw_legacy_matches') -%}
    {%- endif -%}
{% endmacro %}
