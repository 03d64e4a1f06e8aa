{#
    The moment for which everything is decided (var `as_of`, default the run's start, UTC), as a
    timestamptz literal. No model asks the clock. An offset is honoured, none means UTC.
#}
{% macro as_of() -%}
    {{ moment_literal((var('as_of') or released_as_of() or run_start()) | string | trim) }}
{%- endmacro %}

{#
    `dbt test` judges what a build left behind, for the moment of that build: asked for today, a table that
    was right yesterday would be red as soon as a membership has ended.
#}
{% macro released_as_of() -%}
    {%- if execute and flags.WHICH == 'test' -%}
        {%- set release = adapter.get_relation(target.database or none, 'release', 'release') -%}
        {{ return(ask('select as_of from ' ~ release).columns[0].values() | first if release) }}
    {%- endif -%}
{%- endmacro %}

{% macro run_start() -%}
    {{ return(run_started_at.strftime('%Y-%m-%d %H:%M:%S.%f+00:00')) }}
{%- endmacro %}

{% macro moment_literal(moment) -%}
    {%- set time = '[ T][0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]{1,6})?)?' -%}
    {%- set offset = '(Z|[+-][0-9]{2}(:?[0-9]{2})?)' -%}
    {%- if not modules.re.match('^[0-9]{4}-[0-9]{2}-[0-9]{2}(' ~ time ~ offset ~ '?)?$', moment) -%}
        {{ exceptions.raise_compiler_error(
            'var as_of: write a moment such as 2019-09-17 00:00:00, with an offset or in UTC'
        ) }}
    {%- endif -%}
    {%- set has_time = ':' in moment -%}
    {%- set has_offset = has_time and modules.re.search(offset ~ '$', moment) -%}
    cast('{{ moment }}{{ '' if has_time else ' 00:00:00' }}{{ '' if has_offset else '+00:00' }}' as timestamptz)
{%- endmacro %}
