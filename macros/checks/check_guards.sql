{#
    Refuses a run without a guard of required_guards(), with one that is loosened or switched off, or with a
    macro that would stand in for one of dbt's own (DESIGN section 6). Reads nothing but dbt's own graph. What
    the guards are compiled to is compared by CI and by scripts/publish.py, which see it. Not asked by dbt
    compile, which builds nothing, and by which scripts/lock.py writes the file anew.
#}
{% macro check_guards() %}
    {%- if execute and flags.WHICH != 'compile' -%}
        {%- set faults = missing_guards() + loosened_guards() + shadowed_macros() -%}
        {%- if faults -%}
            {{ exceptions.raise_compiler_error(
                'the guards are not those of macros/checks/required_guards.sql:\n  ' ~ faults | join('\n  ')
            ) }}
        {%- endif -%}
    {%- endif -%}
{% endmacro %}

{# Unit tests are not in the graph that Jinja sees. #}
{% macro missing_guards() %}
    {%- set present = [] -%}
    {%- for node in graph.nodes.values() -%}
        {%- if node.resource_type == 'test' -%}
            {%- do present.extend(['data_test,' ~ node.name, 'incident_test,' ~ node.name]) -%}
        {%- elif node.resource_type == 'model' and node.config.contract.enforced -%}
            {%- do present.extend(['contract,' ~ node.name, 'incident_contract,' ~ node.name]) -%}
        {%- elif node.resource_type == 'operation' -%}
            {%- do present.append('run_start,' ~ node.raw_code.strip(' {}')) -%}
        {%- endif -%}
    {%- endfor -%}
    {%- set present = dict.fromkeys(present) -%}
    {%- set faults = [] -%}
    {%- for line in required_guards() -%}
        {%- set kind, name = line.split(',')[:2] -%}
        {%- set is_asked = kind != 'unit_test' and (var('incident_assessment') or not kind.startswith('incident_')) -%}
        {%- if is_asked and kind ~ ',' ~ name not in present -%}
            {%- do faults.append(name ~ ' is gone, and no review agreed to that: see scripts/lock.py') -%}
        {%- endif -%}
    {%- else -%}
        {%- do faults.append('there is no guard in it') -%}
    {%- endfor -%}
    {{ return(faults) }}
{% endmacro %}

{% macro loosened_guards() %}
    {%- set whole = {
        'enabled': true, 'severity': 'error', 'where': none, 'limit': none, 'fail_calc': 'count(*)',
        'warn_if': '!= 0', 'error_if': '!= 0', 'store_failures': none,
    } -%}
    {%- set faults = [] -%}
    {%- for test in graph.nodes.values() | selectattr('resource_type', 'equalto', 'test') | sort(attribute='name') -%}
        {%- for setting, value in whole.items() -%}
            {%- set found = test.config.get(setting) -%}
            {%- if (found | lower if setting == 'severity' else found) != value -%}
                {%- do faults.append(test.name ~ ' is loosened: its ' ~ setting ~ ' is ' ~ found) -%}
            {%- endif -%}
        {%- endfor -%}
    {%- endfor -%}
    {{ return(faults) }}
{% endmacro %}

{#
    get_where_subquery of the project's own would switch off every generic test, and ref lead anywhere, with
    nothing to see.
#}
{% macro shadowed_macros() %}
    {%- set words = ['ref', 'source', 'config', 'var', 'env_var', 'this', 'model', 'graph', 'target', 'adapter', 'api',
        'exceptions', 'execute', 'flags', 'modules', 'context', 'builtins', 'return', 'log', 'selected_resources'] -%}
    {%- set faults = [] -%}
    {%- set own = ['generate_schema_name', 'get_show_sql'] -%}
    {#- of Spark's adapter, which no other target loads: seeds, contracts and dropped tables are as here -#}
    {%- set own_on_spark = ['spark__create_table_as', 'spark__create_view_as', 'spark__get_test_sql',
        'spark__get_empty_schema_sql', 'spark__persist_constraints', 'spark__drop_relation', 'spark__drop_schema',
        'spark__create_csv_table', 'spark__load_csv_rows', 'spark__alter_column_comment'] -%}
    {%- for name, macro in context[project_name].items() if name not in own -%}
        {#- duckdb__get_where_subquery is none of dbt's names, and would be called in place of get_where_subquery -#}
        {%- set stands_in = name in words or name in context['dbt'] or name.split('__', 1)[-1] in context['dbt'] -%}
        {%- if stands_in and not (name in own_on_spark and macro.macro.original_file_path == 'macros/spark.sql') -%}
            {%- do faults.append('the macro ' ~ name ~ ' stands in for one of dbt\'s own') -%}
        {%- endif -%}
    {%- endfor -%}
    {{ return(faults) }}
{% endmacro %}
