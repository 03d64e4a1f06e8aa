{#
    Refuses a run in which contacts could reach anything outside the group identity by a way around
    the gate (DESIGN section 6). Runs before any SQL, reads nothing but dbt's own graph, and fails
    closed: a gate that is renamed, missing, disabled or no longer a private group's view is a fault.
#}
{% macro check_graph() %}
    {%- if execute -%}
        {%- set faults = graph_faults() -%}
        {%- if faults -%}
            {{ exceptions.raise_compiler_error("the gate can be passed by:\n  " ~ faults | join("\n  ")) }}
        {%- endif -%}
    {%- endif -%}
{% endmacro %}

{# The faults of the graph as sentences that name the path; an empty list when there are none. #}
{% macro graph_faults() %}
    {%- set faults = [] -%}
    {%- set models = graph.nodes.values() | selectattr('resource_type', 'equalto', 'model') | sort(attribute='name') -%}
    {%- set gates = models | selectattr('name', 'equalto', 'contacts_consented_for_ads') | list -%}
    {%- if gates | length != 1 -%}
        {%- do faults.append('no gate: the model contacts_consented_for_ads is missing or disabled') -%}
    {%- elif gates[0].config.materialized != 'view' or gates[0].config.group != 'identity' -%}
        {%- do faults.append('no gate: contacts_consented_for_ads must be a view of the group identity') -%}
    {%- endif -%}
    {%- if not graph_contact_inputs() -%}
        {%- do faults.append('no contacts: neither the seed nor the source raw_contacts is in the project') -%}
    {%- endif -%}
    {%- for model in models -%}
        {%- if model.config.group != 'identity' -%}
            {%- do faults.extend(paths_to_contacts(model)) -%}
        {%- elif model.access != 'private' and model.name != 'contacts_consented_for_ads'
            and model.schema not in ('published', 'delivery') -%}
            {%- do faults.append(model.name ~ ' of the group identity is not private') -%}
        {%- endif -%}
        {#- a dotted or quoted name, or a function, where a relation stands; functions that read files -#}
        {%- set code = sql_without_jinja(model.raw_code) -%}
        {%- if modules.re.search('\\b(from|join)\\s+("?\\w+"?\\s*\\.|\'|\\w+\\s*\\()', code)
            or modules.re.search('\\b(read_\\w+|parquet_scan|query_table|query|glob)\\s*\\(', code) -%}
            {%- do faults.append(model.name ~ ' names a relation, a file or a table function in place of a ref') -%}
        {%- endif -%}
        {%- if model.config.get('pre-hook') or model.config.get('post-hook') -%}
            {%- do faults.append(model.name ~ ' has a hook, which could write what no guard sees') -%}
        {%- endif -%}
    {%- endfor -%}
    {{ return(faults) }}
{% endmacro %}

{% macro graph_contact_inputs() %}
    {%- set inputs = [] -%}
    {%- for node in (graph.nodes.values() | list) + (graph.sources.values() | list) -%}
        {%- if node.name == 'raw_contacts' and node.resource_type in ('seed', 'source') -%}
            {%- do inputs.append(node.unique_id) -%}
        {%- endif -%}
    {%- endfor -%}
    {{ return(inputs) }}
{% endmacro %}

{# Each path from this model up to raw contacts that does not pass the gate, one per first parent. #}
{% macro paths_to_contacts(model) %}
    {%- set faults = [] -%}
    {%- set inputs = graph_contact_inputs() -%}
    {%- set seen = [] -%}
    {%- set stack = [[model.unique_id]] -%}
    {#- Jinja has no while: every node enters the stack once at most -#}
    {%- for _ in range(graph.nodes | length + graph.sources | length) if stack -%}
        {%- set path = stack.pop() -%}
        {%- for parent in graph.nodes.get(path[-1], {}).get('depends_on', {}).get('nodes', []) -%}
            {%- if parent in inputs -%}
                {%- set names = [] -%}
                {%- for step in path + [parent] -%}{%- do names.insert(0, step.split('.')[-1]) -%}{%- endfor -%}
                {%- do faults.append(names | join(' -> ')) -%}
            {%- elif parent.split('.')[-1] != 'contacts_consented_for_ads' and parent not in seen -%}
                {%- do seen.append(parent) -%}
                {%- do stack.append(path + [parent]) -%}
            {%- endif -%}
        {%- endfor -%}
    {%- endfor -%}
    {{ return(faults) }}
{% endmacro %}

{# Comments, Jinja and string literals taken out; a Jinja expression leaves one word behind. #}
{% macro sql_without_jinja(code) %}
    {%- set without_comments = modules.re.sub('(?s)\\{#.*?#\\}|--[^\\n]*|/\\*.*?\\*/', ' ', code) -%}
    {%- set without_jinja = modules.re.sub('(?s)\\{\\{.*?\\}\\}|\\{%.*?%\\}', ' jinja ', without_comments) -%}
    {{ return(modules.re.sub('\\s+', ' ', without_jinja) | lower) }}
{% endmacro %}

{# Whether some path leads from the gate down to the model of this name. #}
{% macro has_path_from_gate(name) %}
    {%- set found = [] -%}
    {%- set seen = [] -%}
    {%- set stack = ['model.' ~ project_name ~ '.' ~ name] -%}
    {%- for _ in range(graph.nodes | length) if stack -%}
        {%- set current = stack.pop() -%}
        {%- for parent in graph.nodes.get(current, {}).get('depends_on', {}).get('nodes', []) -%}
            {%- if parent.split('.')[-1] == 'contacts_consented_for_ads' -%}
                {%- do found.append(current) -%}
            {%- elif parent not in seen -%}
                {%- do seen.append(parent) -%}
                {%- do stack.append(parent) -%}
            {%- endif -%}
        {%- endfor -%}
    {%- endfor -%}
    {{ return(found | length > 0) }}
{% endmacro %}
