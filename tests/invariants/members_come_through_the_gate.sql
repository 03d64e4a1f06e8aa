-- Twin of every_path_passes_the_gate: a returned row is an audience mart to which no path leads from the
-- gate, so a mart that reads nothing at all is no way to pass.
-- depends_on: {{ ref('tailored_audience_members') }}, {{ ref('partner_audience_members') }}

{% for name in ['tailored_audience_members', 'partner_audience_members', 'member_explanations', 'list_reports'] %}
select '{{ name }}' as mart
where {{ 'false' if not execute or has_path_from_gate(name) else 'true' }}
{{ "union all" if not loop.last }}
{% endfor %}
