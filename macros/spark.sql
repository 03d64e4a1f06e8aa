{#
    What stands between the project's SQL and Apache Spark 3.5 (dbt's target spark): its lexical form, seeds,
    contracts, and tables that leave their files behind. What single expressions are called stands in engine.sql.
#}

{#
    The SQL as Spark reads it. Spark takes a backslash in a literal for an escape and two quotes in a row for
    the end of one literal and the start of the next, both without a word; and it has other names for two types.
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

{% macro spark__create_table_as(temporary, relation, compiled_code, language='sql') -%}
    {{ return(dbt_spark.spark__create_table_as(temporary, relation, spark_sql(compiled_code), language)) }}
{%- endmacro %}

{% macro spark__create_view_as(relation, sql) -%}
    {{ return(dbt_spark.spark__create_view_as(relation, spark_sql(sql))) }}
{%- endmacro %}

{% macro spark__get_test_sql(main_sql, fail_calc, warn_if, error_if, limit) -%}
    {{ return(dbt.default__get_test_sql(spark_sql(main_sql), fail_calc, warn_if, error_if, limit)) }}
{%- endmacro %}

{% macro spark__get_empty_schema_sql(columns) -%}
    {{ return(spark_sql(dbt.default__get_empty_schema_sql(columns))) }}
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
    {%- set types = model.config.column_types -%}
    {%- for chunk in agate_table.rows | batch(2000) -%}
        {%- set rows = [] -%}
        {%- for row in chunk -%}
            {%- set cells = [] -%}
            {%- for name in agate_table.column_names -%}
                {%- set cell = row[loop.index0] -%}
                {%- set literal = 'null' if cell is none else "'" ~ cell | string | replace("'", "''") ~ "'" -%}
                {%- do cells.append('cast(' ~ literal ~ ' as ' ~ types[name] ~ ')') -%}
            {%- endfor -%}
            {%- do rows.append('(' ~ cells | join(', ') ~ ')') -%}
        {%- endfor -%}
        {%- do adapter.add_query(
            spark_sql('insert into ' ~ this ~ ' values ' ~ rows | join(', ')), abridge_sql_log=True
        ) -%}
    {%- endfor -%}
    {{ return('-- ' ~ agate_table.rows | length ~ ' rows') }}
{%- endmacro %}
