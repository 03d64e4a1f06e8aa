{#
    What is published: a candidate of the layer release as it was tested, with the moment for which it
    was decided. The columns are those of the published model's contract.

    The changes are published first: they stand behind every guard of their own, which nothing of the group
    audiences may ref, and all else stands behind them. The state of the last whole build comes last, when
    everything else is published: from a build that breaks off in between, the next starts where this one did.
#}
{% macro as_released(candidate) %}
{%- if candidate != 'release_membership_changes' %}
-- depends_on: {{ ref('delivery_membership_changes') }}
{%- endif %}
{%- if model.name.startswith('state_') %}
{%- for published in [
    'published_audiences', 'published_consent_funnel', 'published_list_reports',
    'delivery_measurement_events_shared', 'delivery_partner_audience_members',
    'delivery_tailored_audience_members',
] %}
-- depends_on: {{ ref(published) }}
{%- endfor %}
{%- endif %}
select
    candidate.*,
    release.as_of
from {{ ref(candidate) }} as candidate
cross join {{ ref('release') }} as release
{% endmacro %}
