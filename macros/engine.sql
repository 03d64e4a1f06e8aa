{#
    What engines spell differently, and nothing else. default__ is DuckDB; a macro without a variant for an
    engine is written in what both understand. Patterns hold no backslash, and characters beyond ASCII as
    they are.
#}

{% macro matches(text, pattern) -%}
    {{ return(adapter.dispatch('matches')(text, pattern)) }}
{%- endmacro %}

{% macro default__matches(text, pattern) -%}
    regexp_matches({{ text }}, {{ pattern }})
{%- endmacro %}

{% macro postgres__matches(text, pattern) -%}
    ({{ text }} ~ ({{ pattern }}))
{%- endmacro %}

{% macro spark__matches(text, pattern) -%}
    ({{ text }} rlike {{ java_pattern(pattern) }})
{%- endmacro %}

{% macro replace_matches(text, pattern, replacement) -%}
    {{ return(adapter.dispatch('replace_matches')(text, pattern, replacement)) }}
{%- endmacro %}

{% macro default__replace_matches(text, pattern, replacement) -%}
    regexp_replace({{ text }}, {{ pattern }}, {{ replacement }}, 'g')
{%- endmacro %}

{% macro spark__replace_matches(text, pattern, replacement) -%}
    regexp_replace({{ text }}, {{ java_pattern(pattern) }}, {{ replacement }})
{%- endmacro %}

{% macro without_leading(text, sign) -%}
    {{ return(adapter.dispatch('without_leading')(text, sign)) }}
{%- endmacro %}

{% macro default__without_leading(text, sign) -%}
    ltrim({{ text }}, '{{ sign }}')
{%- endmacro %}

{% macro spark__without_leading(text, sign) -%}
    {#- ltrim takes its arguments the other way round there, without a word -#}
    trim(leading '{{ sign }}' from {{ text }})
{%- endmacro %}

{% macro without_trailing(text, sign) -%}
    {{ return(adapter.dispatch('without_trailing')(text, sign)) }}
{%- endmacro %}

{% macro default__without_trailing(text, sign) -%}
    rtrim({{ text }}, '{{ sign }}')
{%- endmacro %}

{% macro spark__without_trailing(text, sign) -%}
    trim(trailing '{{ sign }}' from {{ text }})
{%- endmacro %}

{% macro first_match(text, pattern) -%}
    {{ return(adapter.dispatch('first_match')(text, pattern)) }}
{%- endmacro %}

{% macro default__first_match(text, pattern) -%}
    nullif(regexp_extract({{ text }}, {{ pattern }}), '')
{%- endmacro %}

{% macro postgres__first_match(text, pattern) -%}
    {#- of a pattern with groups it gives what the first group holds: here, the whole -#}
    nullif(substring({{ text }} from '(' || {{ pattern }} || ')'), '')
{%- endmacro %}

{% macro spark__first_match(text, pattern) -%}
    nullif(regexp_extract({{ text }}, {{ java_pattern(pattern) }}, 0), '')
{%- endmacro %}

{% macro sha256_hex(text) -%}
    {{ return(adapter.dispatch('sha256_hex')(text)) }}
{%- endmacro %}

{% macro default__sha256_hex(text) -%}
    sha256({{ text }})
{%- endmacro %}

{% macro postgres__sha256_hex(text) -%}
    encode(sha256(convert_to({{ text }}, 'UTF8')), 'hex')
{%- endmacro %}

{% macro spark__sha256_hex(text) -%}
    sha2({{ text }}, 256)
{%- endmacro %}

{% macro compose_characters(text) -%}
    {#- Unicode normalization form C; DuckDB has no NFKC -#}
    {{ return(adapter.dispatch('compose_characters')(text)) }}
{%- endmacro %}

{% macro default__compose_characters(text) -%}
    nfc_normalize({{ text }})
{%- endmacro %}

{% macro postgres__compose_characters(text) -%}
    normalize({{ text }}, nfc)
{%- endmacro %}

{% macro spark__compose_characters(text) -%}
    {#- Spark 3.5 has no normalization of its own, and ICU's takes no null; ASCII has nothing to compose -#}
    case
        when coalesce({{ matches(text, "'^[ -~]*$'") }}, true) then {{ text }}
        else java_method('com.ibm.icu.text.Normalizer', 'compose', {{ text }}, false)
    end
{%- endmacro %}

{% macro without_accents(text) -%}
    {{ return(adapter.dispatch('without_accents')(text)) }}
{%- endmacro %}

{% macro default__without_accents(text) -%}
    strip_accents({{ text }})
{%- endmacro %}

{% macro postgres__without_accents(text) -%}
    {#- the combining marks of Latin, Greek and Cyrillic -#}
    normalize(regexp_replace(normalize({{ text }}, nfd), '[{{ "\u0300-\u036f" }}]', '', 'g'), nfc)
{%- endmacro %}

{% macro spark__without_accents(text) -%}
    {#- marks, and the letters a to z that Unicode takes apart into one and its marks: all that names are read by -#}
    regexp_replace(translate({{ text }}, '{{ accented_letters() }}', '{{ plain_letters() }}'), '\p{M}', '')
{%- endmacro %}

{% macro base64_to_hex(text) -%}
    {{ return(adapter.dispatch('base64_to_hex')(text)) }}
{%- endmacro %}

{% macro default__base64_to_hex(text) -%}
    lower(hex(from_base64({{ text }})))
{%- endmacro %}

{% macro postgres__base64_to_hex(text) -%}
    encode(decode({{ text }}, 'base64'), 'hex')
{%- endmacro %}

{% macro spark__base64_to_hex(text) -%}
    lower(hex(unbase64({{ text }})))
{%- endmacro %}

{% macro join_distinct(text) -%}
    {#- The distinct texts of a group in order, with a bar between them -#}
    {{ return(adapter.dispatch('join_distinct')(text)) }}
{%- endmacro %}

{% macro default__join_distinct(text) -%}
    string_agg(distinct {{ text }}, '|' order by {{ text }})
{%- endmacro %}

{% macro spark__join_distinct(text) -%}
    {#- of no text it is null, not empty -#}
    case when count({{ text }}) > 0 then array_join(sort_array(collect_set({{ text }})), '|') end
{%- endmacro %}

{#
    One text for a set of ids, whatever their order: another set gives another text, but for a collision of
    128 bits. An aggregate over rows in which each id stands once.
#}
{% macro order_free_digest(id) -%}
    {{ return(adapter.dispatch('order_free_digest')(id)) }}
{%- endmacro %}

{% macro default__order_free_digest(id) -%}
    cast(count(*) as varchar)
        || '-' || cast(sum(md5_number_lower({{ id }})) as varchar)
        || '-' || cast(sum(md5_number_upper({{ id }})) as varchar)
{%- endmacro %}

{% macro postgres__order_free_digest(id) -%}
    {#- the halves of the MD5, the last byte of each the highest, as numbers without a sign -#}
    cast(count(*) as varchar)
    {%- for half in ([8, 9, 10, 11, 12, 13, 14, 15], [0, 1, 2, 3, 4, 5, 6, 7]) %}
        || '-' || cast(sum(
        {%- for byte in half %}
            {{ '+ ' if not loop.first }}get_byte(decode(md5({{ id }}), 'hex'), {{ byte }}) * cast({{ 256 ** loop.index0 }} as numeric)
        {%- endfor %}
        ) as varchar)
    {%- endfor %}
{%- endmacro %}

{% macro spark__order_free_digest(id) -%}
    cast(count(*) as varchar)
    {%- for half in ([15, 14, 13, 12, 11, 10, 9, 8], [7, 6, 5, 4, 3, 2, 1, 0]) %}
        || '-' || cast(sum(cast(conv(
        {%- for byte in half %}
            {{ '|| ' if not loop.first }}substr(md5({{ id }}), {{ 2 * byte + 1 }}, 2)
        {%- endfor %}
        , 16, 10) as decimal(20, 0))) as varchar)
    {%- endfor %}
{%- endmacro %}

{# A number from a text and the key of sizes (scripts/size_noise.py), uniform from 0 on; null without a key. #}
{% macro keyed_number(text) -%}
    {{ return(adapter.dispatch('keyed_number')(text)) }}
{%- endmacro %}

{% macro default__keyed_number(text) -%}
    keyed_number({{ text }})
{%- endmacro %}

{% macro postgres__keyed_number(text) -%}
    {#- hmac() is pgcrypto's; the key is a setting of the session, so that it stands in no SQL and no log -#}
    {%- set key = "btrim(current_setting('consented_audiences.size_key', true))" -%}
    case
        when length({{ key }}) >= 32
            then cast(cast(
                'x' || left(encode(hmac(convert_to({{ text }}, 'UTF8'), convert_to({{ key }}, 'UTF8'), 'sha256'), 'hex'), 16)
                as bit(64)
            ) >> 2 as bigint)
    end
{%- endmacro %}

{% macro spark__keyed_number(text) -%}
    {#- each process that computes reads the key from its own environment, so that it stands in no SQL and no plan -#}
    {%- set key = "trim(java_method('java.lang.System', 'getenv', 'CONSENTED_AUDIENCES_SIZE_KEY'))" -%}
    {%- set mac = "java_method('org.apache.commons.codec.digest.HmacUtils', 'hmacSha256Hex', " ~ key ~ ", " ~ text ~ ")" -%}
    case
        when length({{ key }}) >= 32
            then shiftrightunsigned(cast(conv(substr({{ mac }}, 1, 16), 16, -10) as bigint), 2)
    end
{%- endmacro %}

{% macro add_days(moment, days) -%}
    {{ return(adapter.dispatch('add_days')(moment, days)) }}
{%- endmacro %}

{% macro default__add_days(moment, days) -%}
    {{ moment }} + to_days({{ days }})
{%- endmacro %}

{% macro postgres__add_days(moment, days) -%}
    {{ moment }} + make_interval(days => {{ days }})
{%- endmacro %}

{% macro spark__add_days(moment, days) -%}
    {{ moment }} + make_dt_interval({{ days }})
{%- endmacro %}

{# A moment after all others. #}
{% macro end_of_time() -%}
    {{ return(adapter.dispatch('end_of_time')()) }}
{%- endmacro %}

{% macro default__end_of_time() -%}
    timestamptz 'infinity'
{%- endmacro %}

{% macro spark__end_of_time() -%}
    timestamp_micros(9223372036854775807)
{%- endmacro %}

{% macro is_finite(moment) -%}
    {{ return(adapter.dispatch('is_finite')(moment)) }}
{%- endmacro %}

{% macro default__is_finite(moment) -%}
    isfinite({{ moment }})
{%- endmacro %}

{% macro spark__is_finite(moment) -%}
    {#- Spark has no other moments -#}
    ({{ moment }} is null or true)
{%- endmacro %}

{# A cast that gives null for what it cannot read. #}
{% macro cast_or_null(expression, data_type) -%}
    {{ return(adapter.dispatch('cast_or_null')(expression, data_type)) }}
{%- endmacro %}

{% macro default__cast_or_null(expression, data_type) -%}
    try_cast({{ expression }} as {{ data_type }})
{%- endmacro %}

{% macro postgres__cast_or_null(expression, data_type) -%}
    {{ return(cast_what_is_readable(expression, data_type)) }}
{%- endmacro %}

{% macro spark__cast_or_null(expression, data_type) -%}
    {#- try_cast would read a year, an hour or the name of a zone -#}
    {{ return(cast_what_is_readable(expression, data_type)) }}
{%- endmacro %}

{% macro cast_what_is_readable(expression, data_type) -%}
    {#- only what the cast is sure to read reaches it: its error would quote the cell -#}
    {%- set days = [
        '(0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])', '(0[469]|11)-(0[1-9]|[12][0-9]|30)', '02-(0[1-9]|1[0-9]|2[0-8])',
    ] -%}
    {%- set leap_years = '([0-9]{2}(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)' -%}
    {%- set time = '([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9]([.][0-9]{1,6})?)?' -%}
    {%- set offset = '(Z|[+-](0[0-9]|1[0-4])(:?[0-5][0-9])?)' -%}
    {%- set readable = {
        'varchar': '',
        'boolean': '^([Tt]([Rr][Uu][Ee])?|[Ff]([Aa][Ll][Ss][Ee])?|1|0)$',
        'integer': '^-?[0-9]{1,9}$',
        'bigint': '^-?[0-9]{1,18}$',
        'timestamptz': '^(?!0000)([0-9]{4}-(' ~ days | join('|') ~ ')|' ~ leap_years ~ '-02-29)([ T]' ~ time ~ offset ~ '?)?$',
    }[data_type] -%}
    case
        when {{ matches('cast(' ~ expression ~ ' as varchar)', "'" ~ readable ~ "'") }}
            then cast(cast({{ expression }} as varchar) as {{ data_type }})
    end
{%- endmacro %}

{# The columns of what is selected from, a row each: name and type, types by DuckDB's names. #}
{% macro columns_of(reader) -%}
    {{ return(adapter.dispatch('columns_of')(reader)) }}
{%- endmacro %}

{% macro default__columns_of(reader) -%}
    {{ return(run_query('describe select * from ' ~ reader).rows) }}
{%- endmacro %}

{% macro postgres__columns_of(reader) -%}
    {#- text of a collation of its own compares as the collation says: ADS could equal ads -#}
    {{ return(run_query(
        "select attname, case"
        ~ " when attcollation <> 0 and attcollation <> '\"default\"'::regcollation"
        ~ " then 'COLLATED ' || upper(format_type(atttypid, null))"
        ~ " when atttypid in ('text'::regtype, 'varchar'::regtype) then 'VARCHAR'"
        ~ " when atttypid = 'timestamp'::regtype then 'TIMESTAMP'"
        ~ " else upper(format_type(atttypid, null)) end"
        ~ " from pg_attribute where attrelid = '" ~ reader ~ "'::regclass and attnum > 0 and not attisdropped"
    ).rows) }}
{%- endmacro %}

{% macro spark__columns_of(reader) -%}
    {%- set names = {
        'string': 'VARCHAR', 'int': 'INTEGER', 'timestamp': 'TIMESTAMP WITH TIME ZONE', 'timestamp_ntz': 'TIMESTAMP',
    } -%}
    {%- set columns = [] -%}
    {%- for row in ask('describe query select * from ' ~ reader).rows -%}
        {%- do columns.append([row[0], names.get(row[1], row[1] | upper)]) -%}
    {%- endfor -%}
    {{ return(columns) }}
{%- endmacro %}

{# The table that a query answers with, outside any model. #}
{% macro ask(query) -%}
    {{ return(adapter.dispatch('ask')(query)) }}
{%- endmacro %}

{% macro default__ask(query) -%}
    {{ return(run_query(query)) }}
{%- endmacro %}

{% macro spark__ask(query) -%}
    {{ return(run_query(spark_sql(query))) }}
{%- endmacro %}

{# What the warehouse holds in these schemas, as schema.name, in order. #}
{% macro relations_of(schemas, database=none) -%}
    {{ return(adapter.dispatch('relations_of')(schemas, database or target.database or none)) }}
{%- endmacro %}

{% macro default__relations_of(schemas, database) -%}
    {{ return(ask(
        "select table_schema || '.' || table_name from information_schema.tables where table_schema in ('"
        ~ schemas | join("', '") ~ "') and table_catalog = '" ~ database ~ "' order by 1"
    ).columns[0].values() | list) }}
{%- endmacro %}

{% macro spark__relations_of(schemas, database) -%}
    {%- set relations = [] -%}
    {%- for schema in ask('show schemas').columns[0].values() if schema in schemas -%}
        {%- for row in ask('show tables in ' ~ schema).rows -%}
            {%- do relations.append(row[0] ~ '.' ~ row[1]) -%}
        {%- endfor -%}
    {%- endfor -%}
    {{ return(relations | sort) }}
{%- endmacro %}

{# Runs a statement that changes the catalog outside any model, so that it stands when the next model runs. #}
{% macro run_ddl(statement) -%}
    {{ return(adapter.dispatch('run_ddl')(statement)) }}
{%- endmacro %}

{% macro default__run_ddl(statement) -%}
    {%- do run_query(statement) -%}
{%- endmacro %}

{% macro postgres__run_ddl(statement) -%}
    {#- dbt rolls back what a query of the run's start leaves open -#}
    {%- do run_query('begin; ' ~ statement ~ '; commit') -%}
{%- endmacro %}

{% macro spark__run_ddl(statement) -%}
    {%- do ask(statement) -%}
{%- endmacro %}

{# Whether the engine reads CSV files of the machine that dbt runs on, and checks their bytes. #}
{% macro reads_files() -%}
    {{ return(adapter.dispatch('reads_files')()) }}
{%- endmacro %}

{% macro default__reads_files() -%}
    {{ return(true) }}
{%- endmacro %}

{% macro postgres__reads_files() -%}
    {{ return(false) }}
{%- endmacro %}

{% macro spark__reads_files() -%}
    {{ return(false) }}
{%- endmacro %}

{# What to select from for a Parquet file; none where the engine reads no files. #}
{% macro parquet_reader(path) -%}
    {{ return(adapter.dispatch('parquet_reader')(path)) }}
{%- endmacro %}

{% macro default__parquet_reader(path) -%}
    {{ return("read_parquet('" ~ path ~ "')") }}
{%- endmacro %}

{% macro postgres__parquet_reader(path) -%}
    {{ return(none) }}
{%- endmacro %}

{% macro spark__parquet_reader(path) -%}
    {{ return('parquet.`' ~ path ~ '`') }}
{%- endmacro %}

{#
    For a common table expression whose columns are read several times below: PostgreSQL would write each
    expression out in every place that reads it, and there again, which grows without end.
#}
{% macro computed_once() -%}
    {{ return(adapter.dispatch('computed_once')()) }}
{%- endmacro %}

{% macro default__computed_once() -%}
{%- endmacro %}

{% macro postgres__computed_once() -%}
    materialized
{%- endmacro %}
