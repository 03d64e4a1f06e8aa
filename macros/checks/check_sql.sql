{#
    The faults of one model's SQL, read before it is compiled: what would let it read or write something
    that no ref shows. The text is split into words, literals and signs, so that neither a literal nor a
    comment can hide anything. What the macros it calls expand to is not seen here.
#}
{% macro sql_faults(model) %}
    {%- set faults = [] -%}
    {%- set code = sql_without_jinja(model.raw_code) -%}
    {%- set tokens = sql_tokens(code) -%}
    {%- set names = declared_names(tokens) -%}
    {%- if '{' in code -%}
        {%- do faults.append(model.name ~ ' holds Jinja other than a ref, an input or a listed macro of SQL text') -%}
    {%- endif -%}
    {%- for sign in ['"', '`', '$', ';', '\\', '/*', "'"] if sign in tokens -%}
        {%- do faults.append(model.name ~ ' holds ' ~ sign ~ ', with which text could pass for what it is not') -%}
    {%- endfor -%}
    {%- for schema in project_schemas() if schema in names -%}
        {%- do faults.append(model.name ~ ' has a name of its own that is a schema: ' ~ schema) -%}
    {%- endfor -%}
    {%- if relations_without_ref(tokens, names) -%}
        {%- do faults.append(model.name ~ ' names a relation, a file or a table function in place of a ref') -%}
    {%- endif -%}
    {%- if model.config.materialized != 'table' and modules.re.search('previous_state|keyed_n', model.raw_code) -%}
        {%- do faults.append(
            model.name ~ ' is no table and reads the last build or the key of sizes, which a later reader has not'
        ) -%}
    {%- endif -%}
    {#- DuckDB's message quotes what it cannot cast; a policy's setting has a value, too -#}
    {%- set identifiers = '(\\w+[.])?(' ~ ('value|' if model.schema in ['staging', 'consent', 'audit'])
        ~ 'identifier|normalized_value|national_number|block_key|hash_hex)' -%}
    {%- if 'error' in tokens or modules.re.search(
        '(?i)\\bcast\\(\\s*' ~ identifiers ~ '\\s+as\\b|\\b' ~ identifiers ~ '\\s*::', code
    ) -%}
        {%- do faults.append(model.name ~ ' raises an error or casts an identifier, which a message would show') -%}
    {%- endif -%}
    {%- if model.config.group == 'identity' and modules.re.search('(?i)(sha|md5|hash)\\w*\\s*\\(', model.raw_code) -%}
        {%- do faults.append(model.name ~ ' of the group identity hashes: keys are minted behind the gate') -%}
    {%- endif -%}
    {{ return(faults) }}
{% endmacro %}

{#
    Jinja taken out: a ref, an input or what an earlier build left leaves the word jinja_relation, a macro of common table expressions
    the one that it ends in, and a macro that writes SQL text the word jinja_text. Any other
    Jinja stays as it is, and is a fault.
#}
{% macro sql_without_jinja(code) %}
    {%- set text_macros = 'matches|replace_matches|without_accents|render_identifier|sha256_hex|add_days|base64_to_hex'
        ~ '|meeting_block_keys|trim_white_space|all_block_keys|rendered_for_profile|rederived_permission'
        ~ '|rederived_sensitivity|spelled_channel|join_distinct|order_free_digest|keyed_noise' -%}
    {%- set literals = '(?:"[^"{]*"|\'[^\'{]*\'|[\\s,]|"[^"]*[{][0-9,]+[}][^"{]*")*' -%}
    {%- set code = modules.re.sub('(?s)\\{#.*?#\\}', ' ', code) -%}
    {%- set code = modules.re.sub('\\{\\{ computed_once\\(\\) \\}\\}', ' ', code) -%}
    {%- set code = modules.re.sub(
        '\\{\\{ (ref\\(\'\\w+\'\\)|input_table\\(\'raw_\\w+\'\\)|previous_state\\(\'\\w+\'\\)) \\}\\}', ' jinja_relation ', code
    ) -%}
    {%- set code = modules.re.sub(
        '\\{\\{ normalize_identifiers\\([\'\\w,\\s]+\\) \\}\\}', ' normalized_identifiers as () ', code
    ) -%}
    {%- set code = modules.re.sub('\\{\\{ fold_small_rows\\([\'\\w, ]+\\) \\}\\}', ' folded as () ', code) -%}
    {%- set code = modules.re.sub('^\\s*\\{\\{ as_released\\(\'release_\\w+\'\\) \\}\\}\\s*$', ' jinja_text ', code) -%}
    {{ return(modules.re.sub(
        '\\{\\{ ((as_of|built_by)\\(\\)|(' ~ text_macros ~ ')\\(' ~ literals ~ '\\)) \\}\\}', ' jinja_text ', code
    )) }}
{% endmacro %}

{# Words and signs in lower case, without comments; a literal is the token '', one with a prefix (e'...') is '. #}
{% macro sql_tokens(code) %}
    {%- set tokens = [] -%}
    {%- for token in modules.re.findall("--[^\\n]*|'(?:[^']|'')*'|\\w+'|\\w+|/\\*|\\S", code) -%}
        {%- if token[:1] == "'" and token != "'" -%}
            {%- do tokens.append("''") -%}
        {%- elif token[-1:] == "'" -%}
            {%- do tokens.append("'") -%}
        {%- elif token[:2] != '--' -%}
            {%- do tokens.append(token | lower) -%}
        {%- endif -%}
    {%- endfor -%}
    {{ return(tokens) }}
{% endmacro %}

{# Names that the SQL itself declares: common table expressions and aliases. #}
{% macro declared_names(tokens) %}
    {%- set names = [] -%}
    {%- for token in tokens -%}
        {%- if token == 'as' and tokens[loop.index] == '(' -%}
            {%- do names.append(tokens[loop.index0 - 1]) -%}
        {%- elif loop.index0 > 2 and tokens[loop.index0 - 1] == 'as' and tokens[loop.index0 - 3] in ['from', 'join'] -%}
            {%- do names.append(token) -%}
        {%- endif -%}
    {%- endfor -%}
    {{ return(names) }}
{% endmacro %}

{#
    Whether something stands where a relation stands that is neither a ref nor a name of the SQL's own, or
    joined by a comma, or whether a dotted name or a function could read one.
#}
{% macro relations_without_ref(tokens, names) %}
    {%- set functions = '^(read_\\w+|\\w+_scan|query|query_table|glob|getenv)$' -%}
    {%- for token in tokens -%}
        {%- set here = loop.index0 -%}
        {%- set before = tokens[here - 1] if here else '' -%}
        {%- set next = tokens[here + 1] | default('') -%}
        {%- if token in ['from', 'join', 'table'] and before != 'distinct' -%}
            {%- set after = here + (4 if tokens[here + 2] | default('') == 'as' else 2) -%}
            {%- if next not in names + ['jinja_relation'] or tokens[after] | default('') in ['.', ',', '('] -%}
                {{ return(true) }}
            {%- endif -%}
        {%- elif next == '.' and not modules.re.match('[0-9]', token) and token not in names -%}
            {{ return(true) }}
        {%- elif next == '(' and modules.re.match(functions, token) -%}
            {{ return(true) }}
        {%- endif -%}
    {%- endfor -%}
    {{ return(false) }}
{% endmacro %}

{% macro project_schemas() %}
    {%- set schemas = [] -%}
    {%- for node in (graph.nodes.values() | list) + (graph.sources.values() | list) -%}
        {%- if node.schema not in schemas and node.resource_type in ['model', 'seed', 'source'] -%}
            {%- do schemas.append(node.schema) -%}
        {%- endif -%}
    {%- endfor -%}
    {{ return(schemas) }}
{% endmacro %}
