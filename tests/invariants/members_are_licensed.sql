{{ config(group = "audiences") }}
-- A returned row is a membership of a partner list whose licence, in the raw input, is not the advertiser's, is
-- not in force, or does not allow the data use of partner lists, or one of a tailored list with any licence;
-- or a licence that another one outlasts.

with lists as (
    select lists.list_id, lists.list_kind, lists.partner_id, list_kinds.data_use
    from {{ input_table('raw_audience_lists') }} as lists
    inner join {{ ref('list_kinds') }} as list_kinds
        on lists.list_kind = list_kinds.list_kind
),

licences_in_force as (
    select lists.list_id, licences.advertiser_id, licences.licence_id, licences.ends_at
    from {{ input_table('raw_partner_licences') }} as licences
    inner join lists
        on licences.list_id = lists.list_id and licences.partner_id = lists.partner_id
    where
        licences.starts_at <= {{ as_of() }}
        and coalesce(licences.ends_at > {{ as_of() }}, true)
        and coalesce(licences.revoked_at > {{ as_of() }}, true)
        and {{ rederived_permission('licences.allowed_data_uses', 'lists.data_use') }}
),

best_licences as (
    select licences_in_force.list_id, licences_in_force.advertiser_id, min(licences_in_force.licence_id) as licence_id
    from licences_in_force
    where not exists (
        select 1 from licences_in_force as longer_licences
        where
            longer_licences.list_id = licences_in_force.list_id
            and longer_licences.advertiser_id = licences_in_force.advertiser_id
            and licences_in_force.ends_at < coalesce(longer_licences.ends_at, {{ end_of_time() }})
    )
    group by licences_in_force.list_id, licences_in_force.advertiser_id
)

select explanations.list_id, explanations.advertiser_id, explanations.user_id, explanations.licence_id
from {{ ref('member_explanations') }} as explanations
inner join lists
    on explanations.list_id = lists.list_id
left join best_licences
    on
        explanations.list_id = best_licences.list_id
        and explanations.advertiser_id = best_licences.advertiser_id
where
    case
        when lists.list_kind = 'tailored' then explanations.licence_id is not null
        else best_licences.licence_id is null or explanations.licence_id is distinct from best_licences.licence_id
    end
