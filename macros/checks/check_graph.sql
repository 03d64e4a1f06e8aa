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
    {%- set faults = gate_faults() -%}
    {%- for name in ['raw_contacts', 'raw_ad_engagements'] if not graph_inputs(name) -%}
        {%- do faults.append('nothing to watch: neither the seed nor the source ' ~ name ~ ' is in the project') -%}
    {%- endfor -%}
    {%- for node in graph.nodes.values() | sort(attribute='name') -%}
        {%- if node.resource_type == 'model' -%}
            {%- do faults.extend(model_faults(node)) -%}
            {%- do faults.extend(sql_faults(node)) -%}
        {%- elif node.resource_type == 'snapshot' -%}
            {%- do faults.append(node.name ~ ' is a snapshot, which would keep what was withdrawn') -%}
        {%- elif node.resource_type == 'operation' -%}
            {%- set checks = ['check_graph', 'check_guards', 'check_published', 'check_inputs', 'leave_no_incident'] -%}
            {%- if not modules.re.match('^\\{\\{ (' ~ checks | join('|') ~ ')\\(\\) \\}\\}$', node.raw_code) -%}
                {%- do faults.append(node.name ~ ' is a hook of the project, which could write what no guard sees') -%}
            {%- endif -%}
        {%- endif -%}
        {%- if node.config.get('pre-hook') or node.config.get('post-hook') or node.config.get('sql_header') -%}
            {%- do faults.append(node.name ~ ' has a hook, which could write what no guard sees') -%}
        {%- endif -%}
        {%- if node.config.get('grants') -%}
            {%- do faults.append(node.name ~ ' has grants: readers are given what scripts/publish.py publishes') -%}
        {%- endif -%}
    {%- endfor -%}
    {%- do faults.extend(publication_faults()) -%}
    {%- do faults.extend(incident_reader_faults()) -%}
    {%- for source in graph.sources.values() | sort(attribute='name') -%}
        {%- if source.source_name != 'inputs' or source.identifier != source.name -%}
            {%- do faults.append(source.name ~ ' is a source that is no input, and could be any relation') -%}
        {%- endif -%}
    {%- endfor -%}
    {{ return(faults) }}
{% endmacro %}

{% macro gate_faults() %}
    {%- set gates = graph.nodes.values() | selectattr('resource_type', 'equalto', 'model')
        | selectattr('name', 'equalto', 'contacts_consented_for_ads') | list -%}
    {%- if gates | length != 1 -%}
        {{ return(['no gate: the model contacts_consented_for_ads is missing or disabled']) }}
    {%- elif gates[0].config.materialized != 'view' or gates[0].config.group != 'identity' -%}
        {{ return(['no gate: contacts_consented_for_ads must be a view of the group identity']) }}
    {%- endif -%}
    {{ return([]) }}
{% endmacro %}

{# What one model may be, and which layers it may read. #}
{% macro model_faults(model) %}
    {%- set faults = [] -%}
    {%- if is_incident(model) -%}
        {%- do faults.extend(incident_faults(model)) -%}
    {%- elif model.config.group != 'identity' -%}
        {%- do faults.extend(paths_around(model, 'raw_contacts', 'contacts_consented_for_ads')) -%}
    {%- elif model.access != 'private' and model.name != 'contacts_consented_for_ads' and not is_published(model) -%}
        {%- do faults.append(model.name ~ ' of the group identity is not private') -%}
    {%- endif -%}
    {#- measurement has its own gate -#}
    {%- if model.config.group != 'identity' or is_published(model) or model.schema == 'release' -%}
        {%- do faults.extend(paths_around(model, 'raw_ad_engagements', 'measurement_events_shared')) -%}
    {%- endif -%}
    {%- if model.language != 'sql' or model.config.materialized not in ['view', 'table'] -%}
        {#- external tables are written before their tests run, incremental ones keep what was withdrawn -#}
        {%- do faults.append(model.name ~ ' is neither a view nor a table') -%}
    {%- endif -%}
    {#- a published model is one line, as_released: of another published one it takes nothing but the order -#}
    {%- set readable = ['release', 'published', 'delivery'] if is_published(model) else ['audit', 'marts', 'policy', 'release'] -%}
    {%- for parent in model.depends_on.nodes if is_published(model) or model.schema == 'release' -%}
        {%- set layer = graph.nodes[parent].schema if parent in graph.nodes else 'inputs' -%}
        {%- if layer not in readable -%}
            {%- do faults.append(
                parent.split('.')[-1] ~ ' -> ' ~ model.name ~ ': the layer ' ~ model.schema ~ ' reads only '
                ~ readable | join(', ')
            ) -%}
        {%- endif -%}
    {%- endfor -%}
    {%- for parent in model.depends_on.nodes if not is_published(model) and is_published(graph.nodes.get(parent, {})) -%}
        {%- do faults.append(parent.split('.')[-1] ~ ' -> ' ~ model.name ~ ': nothing reads what is published') -%}
    {%- endfor -%}
    {%- if 'previous_state' in model.raw_code and model.config.materialized != 'table' -%}
        {%- do faults.append(model.name ~ ' is a view of the previous state, which is replaced under it') -%}
    {%- endif -%}
    {%- if "previous_state('delivered_members')" in model.raw_code and model.name != 'previous_members' -%}
        {%- do faults.append(model.name ~ ' reads who was delivered before, and could keep who has withdrawn') -%}
    {%- endif -%}
    {%- if model.schema in ['marts', 'release'] and not has_guard(model, 'no_identifiers') -%}
        {%- do faults.append(model.name ~ ' has no data test no_identifiers') -%}
    {%- endif -%}
    {{ return(faults) }}
{% endmacro %}

{# Built last, behind every guard: what may be read, and what the next build compares with. #}
{% macro is_published(model) %}
    {{ return(model.schema in ['published', 'delivery', 'state']) }}
{% endmacro %}

{% macro published_models() %}
    {%- set models = [] -%}
    {%- for model in graph.nodes.values() | selectattr('resource_type', 'equalto', 'model') | sort(attribute='name') -%}
        {%- do models.append(model) if is_published(model) -%}
    {%- endfor -%}
    {{ return(models) }}
{% endmacro %}

{# What is published is a candidate as it was tested, in a table, under a contract, for somebody. #}
{% macro publication_faults() %}
    {%- set faults = [] -%}
    {%- set exposed = [] -%}
    {%- for exposure in graph.exposures.values() -%}{%- do exposed.extend(exposure.depends_on.nodes) -%}{%- endfor -%}
    {%- for model in published_models() -%}
        {%- if not modules.re.match("^\\s*\\{\\{ as_released\\('release_\\w+'\\) \\}\\}\\s*$", model.raw_code) -%}
            {%- do faults.append(model.name ~ ' is more than a candidate as_released, so no guard stands before it') -%}
        {%- endif -%}
        {%- if model.config.materialized != 'table' or not model.config.contract.enforced -%}
            {%- do faults.append(model.name ~ ' is no table with an enforced contract') -%}
        {%- endif -%}
        {%- if model.unique_id not in exposed and model.schema != 'state' -%}
            {%- do faults.append(model.name ~ ' is in no exposure: nobody may read it') -%}
        {%- endif -%}
        {%- for other in published_models() if model.schema == 'state' and other.schema != 'state' -%}
            {%- if other.unique_id not in model.depends_on.nodes -%}
                {%- do faults.append(model.name ~ ' could be built before ' ~ other.name ~ ': see as_released') -%}
            {%- endif -%}
        {%- endfor -%}
    {%- endfor -%}
    {{ return(faults) }}
{% endmacro %}

{% macro has_guard(model, name) %}
    {%- for test in graph.nodes.values() | selectattr('resource_type', 'equalto', 'test') -%}
        {%- if test.attached_node == model.unique_id and test.test_metadata and test.test_metadata.name == name -%}
            {{ return(true) }}
        {%- endif -%}
    {%- endfor -%}
    {{ return(false) }}
{% endmacro %}

{% macro graph_inputs(name) %}
    {%- set inputs = [] -%}
    {%- for node in (graph.nodes.values() | list) + (graph.sources.values() | list) -%}
        {%- if node.name == name and node.resource_type in ('seed', 'source') -%}
            {%- do inputs.append(node.unique_id) -%}
        {%- endif -%}
    {%- endfor -%}
    {{ return(inputs) }}
{% endmacro %}

{# Each path from this model up to an input that does not pass that input's gate, one per first parent. #}
{% macro paths_around(model, input, gate) %}
    {%- set faults = [] -%}
    {%- set inputs = graph_inputs(input) -%}
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
            {%- elif is_published(graph.nodes.get(parent, {})) -%}
                {#- no data passes: what is published reads none of it, nor does anything else (model_faults) -#}
            {%- elif parent.split('.')[-1] != gate and parent not in seen -%}
                {%- do seen.append(parent) -%}
                {%- do stack.append(path + [parent]) -%}
            {%- endif -%}
        {%- endfor -%}
    {%- endfor -%}
    {{ return(faults) }}
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
