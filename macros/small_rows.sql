{#
    Small rows of a published table (DESIGN section 5), in two common table expressions that end in
    `folded`: the relation, which must have is_small and min_audience_size, with published_label, its own
    label or `withheld`. Where the small rows of a group together stay small, the next larger one goes
    with them, so that no sum tells what they are.
#}
{% macro fold_small_rows(relation, group_columns, label, people) %}
ranked as (
    select
        *,
        row_number() over (partition by {{ group_columns }}, is_small order by {{ people }}, {{ label }}) as size_rank,
        sum(case when is_small then {{ people }} end) over (partition by {{ group_columns }}) as small_people
    from {{ relation }}
),

folded as (
    select
        *,
        case
            when is_small then 'withheld'
            when small_people < min_audience_size and size_rank = 1 then 'withheld'
            else {{ label }}
        end as published_label
    from ranked
)
{% endmacro %}
