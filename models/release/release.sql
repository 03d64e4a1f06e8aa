-- What is published waits for this model, hence for the guards of everything below, the audit's too.
-- depends_on: {{ ref('rederived_members') }}

with rows_by_relation as (
    select 'audiences' as relation, count(*) as relation_rows from {{ ref('release_audiences') }}

    union all

    select 'list_reports' as relation, count(*) as relation_rows from {{ ref('release_list_reports') }}

    union all

    select 'published_sizes' as relation, count(*) as relation_rows from {{ ref('release_published_sizes') }}

    union all

    select 'tailored_audience_members' as relation, count(*) as relation_rows
    from {{ ref('release_tailored_audience_members') }}

    union all

    select 'partner_audience_members' as relation, count(*) as relation_rows
    from {{ ref('release_partner_audience_members') }}

    union all

    select 'member_explanations' as relation, count(*) as relation_rows from {{ ref('member_explanations') }}
),

counted as (
    select
        {{ as_of() }} as as_of,
        {{ built_by() }} as invocation_id,
        max(case when relation = 'audiences' then relation_rows end) as audiences,
        max(case when relation = 'list_reports' then relation_rows end) as list_reports,
        max(case when relation = 'published_sizes' then relation_rows end) as published_sizes,
        max(case when relation = 'tailored_audience_members' then relation_rows end) as tailored_audience_members,
        max(case when relation = 'partner_audience_members' then relation_rows end) as partner_audience_members,
        max(case when relation = 'member_explanations' then relation_rows end) as member_explanations
    from rows_by_relation
)

select * from counted
