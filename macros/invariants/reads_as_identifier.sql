{#
    Whether a text holds an e-mail address, an E.164 number, or a SHA-256 in hex or base64. An id may be any
    opaque text, a hash included, and free digits are a phone number only where no number belongs. What most
    texts are not is asked first, since a pattern is slow: by first character and by length.
#}
{% macro reads_as_identifier(text, is_id=false, is_text=true) -%}
    {%- set content = "cast(" ~ text ~ " as varchar)" -%}
    (
        position('@' in {{ content }}) > 0
        or left({{ content }}, 1) = '+' and {{ matches(content, "'^[+][0-9]{7,15}$'") }}
        {%- if not is_id %}
        or length({{ content }}) >= 44 and {{ matches(content, "'[0-9A-Fa-f]{64}|[0-9A-Za-z+/]{43}='") }}
        {%- if is_text %}
        or length({{ content }}) between 7 and 15 and {{ matches(content, "'^[0-9]+$'") }}
        {%- endif %}
        {%- endif %}
    )
{%- endmacro %}
