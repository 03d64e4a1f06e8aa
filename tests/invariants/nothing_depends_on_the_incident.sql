-- A returned row is a model or an exposure outside the group incident that reads one of its models or the log
-- of old matches.
-- depends_on: {{ ref('contacts_consented_for_ads') }}

{% set faults = incident_reader_faults() if execute else [] %}
{% for fault in faults %}
select '{{ fault }}' as fault
union all
{% endfor %}
select cast(null as varchar) as fault
where false
