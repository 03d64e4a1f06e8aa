{#
    The relation of one input table (DESIGN section 3): the bundled seed, or the source `inputs`,
    which is a view over files or a relation of the user's own warehouse.
#}
{% macro input_table(name) -%}
    {{ ref(name) if var('input') == 'seeds' else source('inputs', name) }}
{%- endmacro %}
