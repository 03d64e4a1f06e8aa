{#
    The noise of a count (DESIGN 4.5): fixed per text by the key, null without one. The sum of a wide and a
    narrow uniform draw, each from 0 on: the wide one bounds what one more person changes in the odds of any
    figure to one in its width, and the narrow one, as wide as the rounding, blunts its ends, so that a figure
    which only one of two sizes can show is as rare as one in the product of both widths.
#}
{% macro keyed_noise(text, width, narrow_width) -%}
    mod({{ keyed_number("'wide ' || " ~ text) }}, {{ width }})
        + mod({{ keyed_number("'narrow ' || " ~ text) }}, {{ narrow_width }})
{%- endmacro %}
