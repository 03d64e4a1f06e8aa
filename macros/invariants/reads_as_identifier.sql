{#
    Whether a text holds an e-mail address, an E.164 number, or a SHA-256 in hex or base64. An id may be any
    opaque text, a hash included, and free digits are a phone number only where no number belongs.
#}
{% macro reads_as_identifier(text, is_id=false, is_text=true) -%}
    {%- set patterns = ['@', '^[+][0-9]{7,15}$'] -%}
    {%- do patterns.extend(['[0-9A-Fa-f]{64}', '[0-9A-Za-z+/]{43}=']) if not is_id -%}
    {%- do patterns.append('^[0-9]{7,15}$') if is_text and not is_id -%}
    {{ matches("cast(" ~ text ~ " as varchar)", "'" ~ patterns | join('|') ~ "'") }}
{%- endmacro %}
