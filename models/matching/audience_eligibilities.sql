with audience_lists as (
    select
        list_id, list_kind, advertiser_id, partner_id, list_owner, created_at, expires_at,
        lawful_basis_attested_at
    from {{ ref('stg_audience_lists') }}
),

advertisers as (
    select advertiser_id, is_active, terms_accepted_at, terms_version
    from {{ ref('stg_advertisers') }}
),

partners as (
    select partner_id, is_active
    from {{ ref('stg_partners') }}
),

lists_clear_of_sensitive_topics as (
    select list_id
    from {{ ref('lists_clear_of_sensitive_topics') }}
),

-- a data use covers what it equals and what is below it
covering_data_uses as (
    select purposes.purpose as data_use
    from {{ ref('purposes') }} as purposes
    inner join {{ ref('list_kinds') }} as list_kinds
        on
            purposes.purpose = list_kinds.data_use
            or left(list_kinds.data_use, length(purposes.purpose) + 1) = purposes.purpose || '.'
    where list_kinds.list_kind = 'partner'
),

-- started, not ended, not revoked, and given for what a partner list does
partner_licences as (
    select
        licence_id,
        partner_id,
        advertiser_id,
        list_id,
        ends_at,
        coalesce(starts_at <= {{ as_of() }}, false)
        and (ends_at is null or ends_at > {{ as_of() }})
        and (revoked_at is null or revoked_at > {{ as_of() }})
        and exists (
            select 1 from covering_data_uses
            where position('|' || covering_data_uses.data_use || '|' in '|' || licences.allowed_data_uses || '|') > 0
        ) as is_in_force
    from {{ ref('stg_partner_licences') }} as licences
),

-- of several licences in force the longest counts, and one without an end is longest
ranked_licences as (
    select
        *,
        row_number() over (
            partition by list_id, partner_id, advertiser_id
            order by is_in_force desc, ends_at desc nulls first, licence_id asc
        ) as licence_rank
    from partner_licences
),

licensed as (
    select
        list_id,
        partner_id,
        advertiser_id,
        is_in_force as is_licence_in_force,
        case when is_in_force then licence_id end as licence_id,
        case when is_in_force then ends_at end as licence_ends_at
    from ranked_licences
    where licence_rank = 1
),

-- one audience per tailored list, and per partner list and advertiser with any licence of it
candidates as (
    select
        list_id, list_kind, advertiser_id, partner_id, list_owner, created_at, expires_at,
        lawful_basis_attested_at,
        cast(null as boolean) as is_licence_in_force,
        cast(null as varchar) as licence_id,
        cast(null as timestamptz) as licence_ends_at
    from audience_lists
    where list_kind = 'tailored'

    union all

    select
        audience_lists.list_id,
        audience_lists.list_kind,
        licensed.advertiser_id,
        audience_lists.partner_id,
        audience_lists.list_owner,
        audience_lists.created_at,
        audience_lists.expires_at,
        audience_lists.lawful_basis_attested_at,
        licensed.is_licence_in_force,
        licensed.licence_id,
        licensed.licence_ends_at
    from audience_lists
    inner join licensed
        on
            audience_lists.list_id = licensed.list_id
            and audience_lists.partner_id = licensed.partner_id
    where audience_lists.list_kind = 'partner'
),

-- DESIGN 4.4: the first that applies, and the topic of the list behind its seven; null when nothing stands
-- against members
judged as (
    select
        candidates.list_id,
        candidates.advertiser_id,
        candidates.list_kind,
        candidates.partner_id,
        candidates.list_owner,
        candidates.created_at as list_created_at,
        candidates.expires_at as list_expires_at,
        candidates.licence_id,
        candidates.licence_ends_at,
        case when candidates.lawful_basis_attested_at <= {{ as_of() }} then candidates.lawful_basis_attested_at end
            as lawful_basis_attested_at,
        case when advertisers.terms_accepted_at <= {{ as_of() }} then advertisers.terms_version end as terms_version,
        case
            when candidates.created_at is null or candidates.created_at > {{ as_of() }} then 'not_created'
            when candidates.expires_at <= {{ as_of() }} then 'expired'
            when
                candidates.lawful_basis_attested_at is null
                or candidates.lawful_basis_attested_at > {{ as_of() }}
                then 'not_attested'
            when candidates.list_kind = 'partner' and not coalesce(partners.is_active, false)
                then 'partner_inactive'
            when candidates.list_kind = 'partner' and not candidates.is_licence_in_force
                then 'licence_not_in_force'
            when not coalesce(advertisers.is_active, false) then 'advertiser_inactive'
            when advertisers.terms_accepted_at is null or advertisers.terms_accepted_at > {{ as_of() }}
                then 'terms_not_accepted'
            when lists_clear_of_sensitive_topics.list_id is null then 'sensitive_topic'
        end as refused_status
    from candidates
    left join advertisers
        on candidates.advertiser_id = advertisers.advertiser_id
    left join partners
        on candidates.partner_id = partners.partner_id
    left join lists_clear_of_sensitive_topics
        on candidates.list_id = lists_clear_of_sensitive_topics.list_id
    where candidates.advertiser_id is not null
)

select * from judged
