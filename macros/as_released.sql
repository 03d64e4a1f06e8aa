{#
    What is published: a candidate of the layer release as it was tested, with the moment for which it
    was decided. The columns are those of the published model's contract.
#}
{% macro as_released(candidate) %}
select
    candidate.*,
    release.as_of
from {{ ref(candidate) }} as candidate
cross join {{ ref('release') }} as release
{% endmacro %}
