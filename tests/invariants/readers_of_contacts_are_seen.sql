-- Twin of nothing_depends_on_the_incident: a returned row is a reader of the gate outside identity whom the same
-- look at the graph does not see.
-- depends_on: {{ ref('contacts_consented_for_ads') }}

{% set paths = readers_outside('identity') if execute else [] %}
{% for model in ['contact_match_keys', 'audience_matches'] %}
select '{{ model }}' as model
where {{ 'false' if not execute or 'contacts_consented_for_ads -> ' ~ model in paths else 'true' }}
{{ "union all" if not loop.last }}
{% endfor %}
