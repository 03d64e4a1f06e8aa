{#
    What stands between the project's SQL and Apache Spark 3.5 (dbt's target spark): its lexical form, seeds,
    contracts, and tables that leave their files behind. What single expressions are called stands in engine.sql.
#}

{#
    The SQL as Spark reads it. Spark takes a backslash in a literal for an escape and two quotes in a row for
    the end of one literal and the start of the next, both without a word; and it has other names for some types.
#}
{% macro spark_sql(sql) -%}
    {%- set parts = [] -%}
    {%- for part in modules.re.split("(--[^\\n]*|'(?:[^']|'')*')", sql) -%}
        {%- if part[:1] == "'" -%}
            {%- do parts.append("'" ~ part[1:-1] | replace('\\', '\\\\') | replace("''", "\\'") ~ "'") -%}
        {%- elif part[:2] == '--' -%}
            {%- do parts.append(part) -%}
        {%- else -%}
            {%- set part = modules.re.sub('(?i)\\bvarchar\\b', 'string', part) -%}
            {%- set part = modules.re.sub('(?i)\\bdouble precision\\b', 'double', part) -%}
            {%- do parts.append(modules.re.sub('(?i)\\btimestamptz\\b', 'timestamp', part)) -%}
        {%- endif -%}
    {%- endfor -%}
    {{ return(parts | join) }}
{%- endmacro %}

{#
    A pattern of RE2 and PostgreSQL as Java reads it: there a [ in a character class opens another one, the
    end of the text is also before its last line end, and a dot stops at line ends.
#}
{% macro java_pattern(pattern) -%}
    {%- set signs = [] -%}
    {%- set state = namespace(is_in_class=false, since=0) -%}
    {%- for sign in pattern -%}
        {%- if not state.is_in_class and sign == '[' -%}
            {%- set state.is_in_class = true -%}
            {%- set state.since = loop.index0 -%}
            {%- do signs.append(sign) -%}
        {%- elif state.is_in_class and sign == ']' and pattern[state.since + 1:loop.index0] not in ['', '^'] -%}
            {%- set state.is_in_class = false -%}
            {%- do signs.append(sign) -%}
        {%- elif state.is_in_class and sign in '[]' -%}
            {%- do signs.append('\\' ~ sign) -%}
        {%- else -%}
            {%- do signs.append('\\z' if sign == '$' and not state.is_in_class else sign) -%}
        {%- endif -%}
    {%- endfor -%}
    {{ return("'(?s)' || " ~ signs | join) }}
{%- endmacro %}

{% macro accented_letters() -%}
    {#- in canonical decomposition (NFD) a letter a to z, in either case, and marks -#}
    {{ return(
        "ÀÁÂÃÄÅÇÈÉÊËÌÍÎÏÑÒÓÔÕÖÙÚÛÜÝàáâãäåçèéêëìíîïñòóôõöùúûüýÿĀāĂăĄąĆćĈĉĊċČčĎďĒēĔĕĖėĘęĚěĜ"
        ~ "ĝĞğĠġĢģĤĥĨĩĪīĬĭĮįİĴĵĶķĹĺĻļĽľŃńŅņŇňŌōŎŏŐőŔŕŖŗŘřŚśŜŝŞşŠšŢţŤťŨũŪūŬŭŮůŰűŲųŴŵŶŷŸŹźŻżŽ"
        ~ "žƠơƯưǍǎǏǐǑǒǓǔǕǖǗǘǙǚǛǜǞǟǠǡǦǧǨǩǪǫǬǭǰǴǵǸǹǺǻȀȁȂȃȄȅȆȇȈȉȊȋȌȍȎȏȐȑȒȓȔȕȖȗȘșȚțȞȟȦȧȨȩȪȫȬȭȮȯ"
        ~ "ȰȱȲȳḀḁḂḃḄḅḆḇḈḉḊḋḌḍḎḏḐḑḒḓḔḕḖḗḘḙḚḛḜḝḞḟḠḡḢḣḤḥḦḧḨḩḪḫḬḭḮḯḰḱḲḳḴḵḶḷḸḹḺḻḼḽḾḿṀṁṂṃṄṅṆṇṈṉṊṋ"
        ~ "ṌṍṎṏṐṑṒṓṔṕṖṗṘṙṚṛṜṝṞṟṠṡṢṣṤṥṦṧṨṩṪṫṬṭṮṯṰṱṲṳṴṵṶṷṸṹṺṻṼṽṾṿẀẁẂẃẄẅẆẇẈẉẊẋẌẍẎẏẐẑẒẓẔẕẖẗẘẙẠạ"
        ~ "ẢảẤấẦầẨẩẪẫẬậẮắẰằẲẳẴẵẶặẸẹẺẻẼẽẾếỀềỂểỄễỆệỈỉỊịỌọỎỏỐốỒồỔổỖỗỘộỚớỜờỞởỠỡỢợỤụỦủỨứỪừỬửỮữỰự"
        ~ "ỲỳỴỵỶỷỸỹKÅ"
    ) }}
{%- endmacro %}

{% macro plain_letters() -%}
    {#- their letters, in the same order -#}
    {{ return(
        "AAAAAACEEEEIIIINOOOOOUUUUYaaaaaaceeeeiiiinooooouuuuyyAaAaAaCcCcCcCcDdEeEeEeEeEeG"
        ~ "gGgGgGgHhIiIiIiIiIJjKkLlLlLlNnNnNnOoOoOoRrRrRrSsSsSsSsTtTtUuUuUuUuUuUuWwYyYZzZzZ"
        ~ "zOoUuAaIiOoUuUuUuUuUuAaAaGgKkOoOojGgNnAaAaAaEeEeIiIiOoOoRrRrUuUuSsTtHhAaEeOoOoOo"
        ~ "OoYyAaBbBbBbCcDdDdDdDdDdEeEeEeEeEeFfGgHhHhHhHhHhIiIiKkKkKkLlLlLlLlMmMmMmNnNnNnNn"
        ~ "OoOoOoOoPpPpRrRrRrRrSsSsSsSsSsTtTtTtTtUuUuUuUuUuVvVvWwWwWwWwWwXxXxYyZzZzZzhtwyAa"
        ~ "AaAaAaAaAaAaAaAaAaAaAaEeEeEeEeEeEeEeEeIiIiOoOoOoOoOoOoOoOoOoOoOoOoUuUuUuUuUuUuUu"
        ~ "YyYyYyYyKA"
    ) }}
{%- endmacro %}

{# The adapter declares no constraint to Iceberg, which would hold none: the query itself breaks off at a row. #}
{% macro spark__create_table_as(temporary, relation, compiled_code, language='sql') -%}
    {%- set query = held_to_constraints(compiled_code) if model.config.contract.enforced else compiled_code -%}
    {{ return(dbt.spark__create_table_as(temporary, relation, spark_sql(query), language)) }}
{%- endmacro %}

{#
    The rows of the query, each held to the constraints of the contract as DuckDB and PostgreSQL hold them: a key
    stands once and holds no null, and a null passes a check.
#}
{% macro held_to_constraints(query) -%}
    {%- set faults = [] -%}
    {%- set keys = [] -%}
    {%- for column in model.columns.values() -%}
        {%- for constraint in column.constraints -%}
            {%- do faults.extend(constraint_faults(constraint, [column.name], keys)) -%}
        {%- endfor -%}
    {%- endfor -%}
    {%- for constraint in model.constraints -%}
        {%- do faults.extend(constraint_faults(constraint, constraint.columns, keys)) -%}
    {%- endfor -%}
select {{ model.columns.keys() | join(', ') }}
from (
    select
        rows_of_query.*
        {%- for key in keys %},
        count(*) over (partition by {{ key | join(', ') }}) as rows_of_key_{{ loop.index }}
        {%- endfor %}
    from (
{{ query }}
    ) as rows_of_query
) as counted_rows
{%- if faults %}
where case
    {%- for fault in faults %}
    when {{ fault[0] }}
        then cast(raise_error('{{ model.name }}: a row breaks the constraint {{ fault[1] | replace("'", "''") }}') as boolean)
    {%- endfor %}
    else true
end
{%- endif %}
{%- endmacro %}

{# Conditions for a row that breaks the constraint, and its name; a primary key joins the keys. #}
{% macro constraint_faults(constraint, columns, keys) -%}
    {%- set faults = [] -%}
    {%- if constraint.type == 'check' -%}
        {%- do faults.append(['not (' ~ constraint.expression ~ ')', 'check (' ~ constraint.expression ~ ')']) -%}
    {%- elif constraint.type in ['not_null', 'primary_key'] -%}
        {%- for column in columns -%}
            {%- do faults.append([column ~ ' is null', 'not_null (' ~ column ~ ')']) -%}
        {%- endfor -%}
    {%- else -%}
        {{ exceptions.raise_compiler_error(model.name ~ ': nothing holds a constraint ' ~ constraint.type ~ ' on Spark') }}
    {%- endif -%}
    {%- if constraint.type == 'primary_key' -%}
        {%- do keys.append(columns) -%}
        {%- do faults.append(['rows_of_key_' ~ keys | length ~ ' > 1', 'primary_key (' ~ columns | join(', ') ~ ')']) -%}
    {%- endif -%}
    {{ return(faults) }}
{%- endmacro %}

{% macro spark__create_view_as(relation, sql) -%}
    {{ return(dbt.spark__create_view_as(relation, spark_sql(sql))) }}
{%- endmacro %}

{% macro spark__get_test_sql(main_sql, fail_calc, warn_if, error_if, limit) -%}
    {{ return(dbt.default__get_test_sql(spark_sql(main_sql), fail_calc, warn_if, error_if, limit)) }}
{%- endmacro %}

{% macro spark__get_empty_schema_sql(columns) -%}
    {{ return(spark_sql(dbt.default__get_empty_schema_sql(columns))) }}
{%- endmacro %}

{# The last step of building a table: the files of what it held before go, and with them who is gone from it. #}
{% macro spark__persist_constraints(relation, model) -%}
    {%- do run_query(
        "call spark_catalog.system.expire_snapshots(table => '" ~ relation
        ~ "', older_than => timestamp '9999-01-01 00:00:00', retain_last => 1)"
    ) -%}
{%- endmacro %}

{# Hive's catalog takes no more than 256 characters about a column of a table. #}
{% macro spark__alter_column_comment(relation, column_dict) -%}
{%- endmacro %}

{# Without `purge` the files of a dropped table stay. #}
{% macro spark__drop_relation(relation) -%}
    {%- call statement('drop_relation', auto_begin=False) -%}
        drop {{ relation.type }} if exists {{ relation }} {{ 'purge' if relation.type == 'table' }}
    {%- endcall -%}
{%- endmacro %}

{% macro spark__drop_schema(relation) -%}
    {%- for name in relations_of([relation.schema]) -%}
        {%- do adapter.drop_relation(load_relation(api.Relation.create(schema=relation.schema, identifier=name.split('.')[-1]))) -%}
    {%- endfor -%}
    {%- call statement('drop_schema') -%}
        drop schema if exists {{ relation.schema }} cascade
    {%- endcall -%}
{%- endmacro %}

{# A digest of each mart's rows in no order, as JSON: for who compares two builds. #}
{% macro mart_digests() -%}
    {%- set digests = {} -%}
    {%- for model in graph.nodes.values() if model.resource_type == 'model' and model.schema == 'marts' -%}
        {%- set answer = run_query(
            'select count(*), cast(sum(cast(xxhash64(*) as decimal(38, 0))) as string) from marts.' ~ model.alias
        ).rows[0] -%}
        {%- do digests.update({model.alias: answer[0] ~ ' ' ~ answer[1]}) -%}
    {%- endfor -%}
    {%- do print(tojson(digests, sort_keys=true)) -%}
{%- endmacro %}

{% macro spark__create_csv_table(model, agate_table) -%}
    {%- set columns = [] -%}
    {%- for name, data_type in model.config.column_types.items() -%}
        {%- do columns.append(name ~ ' ' ~ data_type) -%}
    {%- endfor -%}
    {%- set sql = spark_sql('create or replace table ' ~ this ~ ' (' ~ columns | join(', ') ~ ') using iceberg') -%}
    {%- call statement('_') -%}{{ sql }}{%- endcall -%}
    {{ return(sql) }}
{%- endmacro %}

{# dbt-spark writes a missing cell as the text None, and quotes as they are. #}
{% macro spark__load_csv_rows(model, agate_table) -%}
    {%- set columns = [] -%}
    {%- for name in agate_table.column_names -%}
        {%- do columns.append('cast(' ~ name ~ ' as ' ~ model.config.column_types[name] ~ ')') -%}
    {%- endfor -%}
    {%- for chunk in agate_table.rows | batch(5000) -%}
        {%- set rows = [] -%}
        {%- for row in chunk -%}
            {%- set cells = [] -%}
            {%- for cell in row -%}
                {%- do cells.append('null' if cell is none else "'" ~ cell | string | replace("'", "''") ~ "'") -%}
            {%- endfor -%}
            {%- do rows.append('(' ~ cells | join(', ') ~ ')') -%}
        {%- endfor -%}
        {%- do adapter.add_query(
            spark_sql(
                'insert into ' ~ this ~ ' select ' ~ columns | join(', ') ~ ' from values ' ~ rows | join(', ')
                ~ ' as cells (' ~ agate_table.column_names | join(', ') ~ ')'
            ), abridge_sql_log=True
        ) -%}
    {%- endfor -%}
    {{ return('-- ' ~ agate_table.rows | length ~ ' rows') }}
{%- endmacro %}
