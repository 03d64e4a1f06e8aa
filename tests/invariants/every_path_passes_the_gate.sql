-- A returned row is a way around the gate in dbt's own graph: a path from raw contacts to anything outside
-- identity that misses the gate, one from raw views and clicks that misses measurement_events_shared, a
-- relation, file or hook that no ref shows, or the gate itself gone.
-- depends_on: {{ ref('contacts_consented_for_ads') }}

{% set faults = graph_faults() if execute else [] %}
{%- for fault in faults %}
select '{{ fault | replace("'", "''") }}' as fault
{{ "union all" if not loop.last }}
{%- endfor %}
{%- if not faults %}
select cast(null as varchar) as fault
where false
{%- endif %}
