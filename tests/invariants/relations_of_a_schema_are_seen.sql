-- Twin of incident_leaves_nothing: a returned row is a mart that the same look at warehouse and graph does not see.
-- depends_on: {{ ref('audiences') }}, {{ ref('list_reports') }}

{% for name in ['audiences', 'list_reports'] %}
select '{{ name }}' as relation_name
where {{ 'false' if not execute or name in relations_in('marts') and name in nodes_in('marts') else 'true' }}
{{ "union all" if not loop.last }}
{% endfor %}
