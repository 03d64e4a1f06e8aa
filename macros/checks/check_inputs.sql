{#
    Holds the inputs against the public contract (models/staging/_inputs__sources.yml) before any model
    runs: bytes and dialect of CSV files, columns, types, keys, required cells. A fault stops the run
    with the table, the column and the rule; no message holds a value. Files and tables that pass get a
    view each, with the contract's columns in the contract's types, which is the source `inputs`.
#}
{% macro check_inputs() %}
    {%- if execute -%}
        {%- set faults = [] -%}
        {%- do faults.extend(engine_faults()) -%}
        {%- do faults.extend(as_of_faults()) -%}
        {%- do faults.extend(seed_faults()) if reads_files() -%}
        {%- set readers = {} -%}
        {%- set stand_ins = {} -%}
        {%- for table in input_contract() -%}
            {%- set reader = input_reader(table, faults) -%}
            {%- if reader -%}
                {%- do readers.update({table.name: reader}) -%}
                {%- do faults.extend(contract_faults(table, reader, stand_ins)) -%}
            {%- endif -%}
        {%- endfor -%}
        {%- if faults -%}
            {{ exceptions.raise_compiler_error(
                "inputs refused, nothing was read or changed:\n  " ~ faults | join("\n  ")
            ) }}
        {%- endif -%}
        {%- if var('input') != 'seeds' -%}
            {%- do create_input_views(readers, stand_ins) -%}
        {%- endif -%}
        {%- if reads_files() -%}
            {%- set seed = graph.nodes['seed.' ~ project_name ~ '.audience_policy'] -%}
            {%- do say_policy(csv_reader(seed.original_file_path, ['setting', 'value'])) -%}
        {%- endif -%}
        {%- do say_size_key() -%}
        {%- do say_canaries(readers.raw_users) if readers.raw_users -%}
    {%- endif -%}
{% endmacro %}

{# The tables of the source `inputs`, with columns, types and rules. #}
{% macro input_contract() %}
    {%- set tables = graph.sources.values() | selectattr('source_name', 'equalto', 'inputs') -%}
    {{ return(tables | sort(attribute='name') | list) }}
{% endmacro %}

{# A view per input, every column of the contract in it, whatever stands in for a column that was not there. #}
{% macro create_input_views(readers, stand_ins) %}
    {%- for table in input_contract() -%}
        {%- if loop.first -%}
            {%- do run_ddl('create schema if not exists ' ~ table.schema) -%}
        {%- endif -%}
        {%- set columns = [] -%}
        {%- for column in table.columns.values() -%}
            {%- set cell = stand_ins.get(table.name ~ '.' ~ column.name, column.name) -%}
            {%- do columns.append('cast(' ~ cell ~ ' as ' ~ column.data_type ~ ') as ' ~ column.name) -%}
        {%- endfor -%}
        {%- do run_ddl(
            'create or replace view ' ~ table.schema ~ '.' ~ table.name
            ~ ' as select ' ~ columns | join(', ') ~ ' from ' ~ readers[table.name]
        ) -%}
    {%- endfor -%}
{% endmacro %}

{# What the session must be like, or the same rows would be decided otherwise than on another engine. #}
{% macro engine_faults() %}
    {%- set faults = [] -%}
    {%- for moment in ['2019-01-01 00:00:00', '2019-07-01 00:00:00'] -%}
        {%- set is_utc = "cast('" ~ moment ~ "' as timestamptz) = cast('" ~ moment ~ "+00:00' as timestamptz)" -%}
        {%- if not faults and not ask('select ' ~ is_utc).rows[0][0] -%}
            {%- do faults.append('time zone of the session: must be UTC, since no offset means UTC') -%}
        {%- endif -%}
    {%- endfor -%}
    {%- if not ask("select 'a' > 'B' and lower('\u00c4') = '\u00e4'").rows[0][0] -%}
        {%- do faults.append(
            'database: text must sort by code point and have a case beyond ASCII (on PostgreSQL: locale C.UTF-8)'
        ) -%}
    {%- endif -%}
    {{ return(faults) }}
{% endmacro %}

{% macro as_of_faults() %}
    {%- set faults = [] -%}
    {%- if ask('select ' ~ as_of() ~ ' > ' ~ moment_literal(run_start())).rows[0][0] -%}
        {%- do faults.append('var as_of: lies in the future') -%}
    {%- endif -%}
    {%- for relation in published_relations() if flags.WHICH != 'test' -%}
        {%- if not faults and ask('select max(as_of) > ' ~ as_of() ~ ' from ' ~ relation).rows[0][0] -%}
            {%- do faults.append(
                'var as_of: lies before that of ' ~ relation ~ '; to publish an older state, drop the schemas'
                ~ ' published, delivery and state first, or build in another warehouse'
            ) -%}
        {%- endif -%}
    {%- endfor -%}
    {{ return(faults) }}
{% endmacro %}

{# Seeds load by position, so bytes, dialect and header are read before dbt reads them. #}
{% macro seed_faults() %}
    {%- set faults = [] -%}
    {%- for seed in graph.nodes.values() | selectattr('resource_type', 'equalto', 'seed') | sort(attribute='name') -%}
        {%- do faults.extend(csv_faults(seed.original_file_path, seed.config.column_types.keys() | list, true)) -%}
    {%- endfor -%}
    {{ return(faults) }}
{% endmacro %}

{% macro csv_faults(path, columns, must_have_rows) %}
    {%- set answer = ask(
        "select csv_faults('" ~ path | replace("'", "''") ~ "', '" ~ tojson(columns) ~ "', " ~ must_have_rows ~ ")"
    ) -%}
    {{ return(fromjson(answer.rows[0][0])) }}
{% endmacro %}

{# The columns of the contract that a CSV file has: an older file may lack what became a column later. #}
{% macro csv_columns(path, table) %}
    {%- set optional = table.columns.values() | selectattr('config.meta.optional', 'defined') | map(attribute='name') | list -%}
    {%- set answer = ask(
        "select csv_columns('" ~ path | replace("'", "''") ~ "', '" ~ tojson(table.columns.keys() | list) ~ "', '" ~ tojson(optional) ~ "')"
    ) -%}
    {{ return(fromjson(answer.rows[0][0])) }}
{% endmacro %}

{% macro csv_reader(path, columns) %}
    {%- set types = [] -%}
    {%- for column in columns -%}{%- do types.append("'" ~ column ~ "': 'VARCHAR'") -%}{%- endfor -%}
    {{ return(
        "read_csv('" ~ path | replace("'", "''") ~ "', columns = {" ~ types | join(', ')
        ~ "}, header = true, auto_detect = false, delim = ',', quote = '\"', escape = '\"', nullstr = '',"
        ~ " strict_mode = true)"
    ) }}
{% endmacro %}

{# What to select an input table from, or none after a fault that makes reading it pointless. #}
{% macro input_reader(table, faults) %}
    {%- set columns = table.columns.keys() | list -%}
    {%- set needs_rows = table.config.meta.get('needs_rows', false) -%}
    {%- if var('input') == 'seeds' -%}
        {%- set path = 'seeds/sample/' ~ table.name ~ '.csv' -%}
        {{ return(csv_reader(path, columns) if reads_files() and not csv_faults(path, columns, needs_rows)) }}
    {%- elif var('input') == 'files' and not parquet_reader('') -%}
        {%- set fault = 'var input: files are not read by ' ~ target.type ~ '; load them as tables, and use input: tables' -%}
        {%- do faults.append(fault) if fault not in faults -%}
        {{ return(none) }}
    {%- elif var('input') == 'files' -%}
        {%- set folder = var('input_path') | string -%}
        {%- if not folder or modules.re.search("[*?\\[\\]'\"`\\n\\r]", folder) -%}
            {%- set fault = "var input_path: write a folder, without quotes, line ends or any of * ? [ ] `" -%}
            {%- do faults.append(fault) if fault not in faults -%}
            {{ return(none) }}
        {%- endif -%}
        {%- set stem = folder.rstrip('/') ~ '/' ~ table.name -%}
        {%- if not reads_files() or ask("select file_exists('" ~ stem ~ ".parquet')").rows[0][0] -%}
            {{ return(parquet_reader(stem ~ '.parquet')) }}
        {%- endif -%}
        {%- set found_columns = csv_columns(stem ~ '.csv', table) -%}
        {%- set csv = csv_faults(stem ~ '.csv', found_columns, needs_rows) -%}
        {%- do faults.extend(csv) -%}
        {{ return(csv_reader(stem ~ '.csv', found_columns) if not csv) }}
    {%- elif var('input') == 'tables' -%}
        {%- set database = var('input_database') or target.database or none -%}
        {%- set schema = var('input_schema') | string -%}
        {%- if not modules.re.match('^\\w+$', schema) or not modules.re.match('^\\w+$', database | string) -%}
            {%- set fault = 'vars input_schema and input_database: write names of letters, digits and underscores' -%}
            {%- do faults.append(fault) if fault not in faults -%}
            {{ return(none) }}
        {%- elif schema == 'incident' -%}
            {%- set fault = 'var input_schema: the schema incident is dropped by every build without an assessment' -%}
            {%- do faults.append(fault) if fault not in faults -%}
            {{ return(none) }}
        {%- endif -%}
        {%- if schema ~ '.' ~ table.name not in relations_of([schema], database) -%}
            {%- do faults.append(table.name ~ ': no such relation in ' ~ database ~ '.' ~ schema) -%}
            {{ return(none) }}
        {%- endif -%}
        {{ return(api.Relation.create(database=database, schema=schema, identifier=table.name).render()) }}
    {%- else -%}
        {%- set fault = 'var input: must be seeds, files or tables' -%}
        {%- do faults.append(fault) if fault not in faults -%}
        {{ return(none) }}
    {%- endif -%}
{% endmacro %}

{# Types that may stand in for a contract type, which is the last. An id that went through a floating-point number may be another. #}
{% macro readable_types(data_type) %}
    {%- set integers = [
        'TINYINT', 'SMALLINT', 'INTEGER', 'BIGINT', 'HUGEINT',
        'UTINYINT', 'USMALLINT', 'UINTEGER', 'UBIGINT', 'UHUGEINT',
    ] -%}
    {{ return({
        'varchar': ['UUID'] + integers + ['VARCHAR'],
        'boolean': ['VARCHAR', 'BOOLEAN'],
        'integer': ['VARCHAR'] + integers + ['INTEGER'],
        'bigint': ['VARCHAR'] + integers + ['BIGINT'],
        'timestamptz': [
            'VARCHAR', 'DATE', 'TIMESTAMP', 'TIMESTAMP_S', 'TIMESTAMP_MS', 'TIMESTAMP_NS',
            'TIMESTAMP WITH TIME ZONE',
        ],
    }[data_type]) }}
{% endmacro %}

{# A condition for a cell that must not be empty, and what to say of it; a column of nulls is held to it, too. #}
{% macro required_rules(column, found_type) %}
    {%- set rules = [] -%}
    {%- set meta = column.config.meta -%}
    {%- set text = 'cast(' ~ column.name ~ ' as varchar)' -%}
    {%- if column.data_type != 'varchar' and found_type == readable_types(column.data_type) | last -%}
        {%- set is_empty = column.name ~ ' is null' -%}
    {%- else -%}
        {#- almost every cell begins with a printable ASCII character, which is seen faster than white space is trimmed -#}
        {%- set is_empty = "case when " ~ text ~ " between '!' and '~' then false"
            ~ " else coalesce(" ~ trim_white_space(text) ~ ", '') = '' end" -%}
    {%- endif -%}
    {%- if meta.get('key') or meta.get('required') -%}
        {%- do rules.append([is_empty, 'is required and empty']) -%}
    {%- endif -%}
    {%- for other, value in meta.get('required_if', {}).items() -%}
        {%- do rules.append([
            'cast(' ~ other ~ " as varchar) = '" ~ value ~ "' and " ~ is_empty,
            'is empty and required by ' ~ other ~ " = '" ~ value ~ "'",
        ]) -%}
    {%- endfor -%}
    {{ return(rules) }}
{% endmacro %}

{#
    Conditions for a cell that breaks the contract, and what to say of each. Ids may be integers: rules read
    text. A column that has its type already is not cast.
#}
{% macro cell_rules(column, found_type) %}
    {%- set rules = [] -%}
    {%- set meta = column.config.meta -%}
    {%- set text = 'cast(' ~ column.name ~ ' as varchar)' -%}
    {%- set is_typed = found_type == readable_types(column.data_type) | last -%}
    {%- set readable = column.name if is_typed else cast_or_null(column.name, column.data_type) -%}
    {%- if column.data_type != 'varchar' and not is_typed -%}
        {%- set unreadable = readable ~ ' is null' -%}
        {%- if column.data_type in ('integer', 'bigint') -%}
            {#- a cast would round a fraction -#}
            {%- set unreadable = '(' ~ unreadable ~ ' or not ' ~ matches(text, "'^-?[0-9]+$'") ~ ')' -%}
        {%- endif -%}
        {%- do rules.append(
            [column.name ~ ' is not null and ' ~ unreadable, 'cannot be read as ' ~ column.data_type]
        ) -%}
    {%- endif -%}
    {%- if column.data_type == 'timestamptz' -%}
        {%- do rules.append(['not ' ~ is_finite(readable), 'is not a finite moment']) -%}
    {%- endif -%}
    {%- if meta.get('accepted') -%}
        {%- set accepted = meta.get('accepted') -%}
        {%- do rules.append(
            [text ~ " not in ('" ~ accepted | join("', '") ~ "')", 'is none of ' ~ accepted | join(', ')]
        ) -%}
    {%- endif -%}
    {%- if meta.get('range') -%}
        {%- set between = meta.get('range') | join(' and ') -%}
        {%- do rules.append([readable ~ ' not between ' ~ between, 'is not between ' ~ between]) -%}
    {%- endif -%}
    {%- if meta.get('codes') -%}
        {%- do rules.append([
            'nullif(' ~ trim_white_space(text) ~ ", '') is not null and not "
            ~ matches(text, "'^[a-z0-9._]+([|][a-z0-9._]+)*$'"),
            'is no list of codes in lower case with | between them',
        ]) -%}
    {%- endif -%}
    {%- if meta.get('label') -%}
        {%- do rules.append([reads_as_identifier(column.name), 'reads as an address, a number or a hash']) -%}
    {%- endif -%}
    {%- if meta.get('canonical') -%}
        {%- do rules.append([
            'case when ' ~ matches(text, "'^[a-z0-9._]+$'") ~ ' then false'
            ~ ' else ' ~ text ~ ' <> lower(' ~ trim_white_space(text) ~ ') end',
            'has capitals or outer white space',
        ]) -%}
    {%- endif -%}
    {{ return(rules) }}
{% endmacro %}

{#
    Faults of columns, types, keys and cells. A column of nulls may have any type, as files written without
    a schema have, and such a type may not even cast; an optional column may be missing. For both something
    stands in, which is noted in stand_ins: for the missing one what its absence means.
#}
{% macro contract_faults(table, reader, stand_ins) %}
    {%- set faults = [] -%}
    {%- set found = {} -%}
    {%- for row in columns_of(reader) -%}
        {%- do found.update({row[0]: row[1]}) -%}
    {%- endfor -%}
    {%- set keys = [] -%}
    {%- set counts = [] -%}
    {%- for column in table.columns.values() -%}
        {%- set is_readable = found.get(column.name) in readable_types(column.data_type) -%}
        {%- set place = table.name ~ '.' ~ column.name -%}
        {%- if column.name not in found and column.config.meta.get('optional') -%}
            {%- set meaning = column.config.meta.get('when_missing') -%}
            {%- do stand_ins.update({place: "'" ~ meaning ~ "'" if meaning else 'null'}) -%}
        {%- elif column.name not in found -%}
            {%- do faults.append(place ~ ': column is missing') -%}
        {%- elif not is_readable and ask('select count(' ~ column.name ~ ') from ' ~ reader).rows[0][0] -%}
            {%- do faults.append(
                place ~ ': has type ' ~ found[column.name].split('(')[0]
                ~ ', which is not read as ' ~ column.data_type
            ) -%}
        {%- else -%}
            {%- do stand_ins.update({place: 'null'}) if not is_readable -%}
            {%- do keys.append(column.name) if column.config.meta.get('key') -%}
            {%- for rule in required_rules(column, found[column.name]) + (cell_rules(column, found[column.name]) if is_readable else []) -%}
                {%- do counts.append([
                    'count(*) filter (where ' ~ rule[0] ~ ')',
                    place ~ ': ',
                    ' rows in which it ' ~ rule[1],
                ]) -%}
            {%- endfor -%}
        {%- endif -%}
    {%- endfor -%}
    {%- if keys and not faults -%}
        {%- do counts.append([
            'count(*) - count(distinct (' ~ keys | join(', ') ~ '))',
            table.name ~ '.' ~ keys | join(' and ') ~ ': ',
            ' rows repeat the primary key of another',
        ]) -%}
    {%- endif -%}
    {%- if table.config.meta.get('needs_rows', false) and not ask('select 1 from ' ~ reader ~ ' limit 1').rows -%}
        {%- do faults.append(table.name ~ ': has no rows, which would mean that nobody ever opted out or in') -%}
    {%- endif -%}
    {%- if counts and not faults -%}
        {%- set answers = ask('select ' ~ counts | map(attribute=0) | join(', ') ~ ' from ' ~ reader).rows[0] -%}
        {%- for count in counts -%}
            {%- if answers[loop.index0] > 0 -%}
                {%- do faults.append(count[1] ~ answers[loop.index0] ~ count[2]) -%}
            {%- endif -%}
        {%- endfor -%}
    {%- endif -%}
    {{ return(faults) }}
{% endmacro %}

{# The policy that loosens rule 8 must be chosen, and is said aloud at every run. #}
{% macro say_policy(reader) %}
    {%- set policy = ask('select value from ' ~ reader ~ " where setting = 'dual_purpose_policy'").rows -%}
    {%- if policy and policy[0][0] == 'separate_collection' -%}
        {%- do log(
            'dual_purpose_policy is separate_collection: a value that a user also gave for protection may be'
            ~ ' matched through its own ads contact',
            info=true
        ) -%}
    {%- endif -%}
{% endmacro %}

{# INV-9 watches accounts that somebody planted; without them it has nothing to watch, and that is said. #}
{% macro say_canaries(users) %}
    {%- for kind in ['canary-security', 'canary-consented'] -%}
        {%- if not ask('select 1 from ' ~ users ~ " where cast(user_id as varchar) like '" ~ kind ~ "%' limit 1").rows -%}
            {%- do log('no account ' ~ kind ~ '... is planted: INV-9 watches nothing of that kind', info=true) -%}
        {%- endif -%}
    {%- endfor -%}
{% endmacro %}
