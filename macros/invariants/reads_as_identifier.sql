{# Whether a text holds an e-mail address, an E.164 number, or a SHA-256 in hex or base64. #}
{% macro reads_as_identifier(text) -%}
    {{ matches("cast(" ~ text ~ " as varchar)", "'@|^[+][0-9]{7,15}$|[0-9A-Fa-f]{64}|[0-9A-Za-z+/]{43}='") }}
{%- endmacro %}
