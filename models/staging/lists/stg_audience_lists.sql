with source as (
    select
        list_id, list_kind, advertiser_id, partner_id, name, normalization_profile, is_hashed,
        membership_days, created_at, expires_at, lawful_basis_attested_at, owner
    from {{ input_table('raw_audience_lists') }}
),

list_kinds as (
    select list_kind, data_use
    from {{ ref('list_kinds') }}
),

-- a list of an unknown kind has no data use, hence no audience
renamed as (
    select
        source.list_id,
        source.list_kind,
        list_kinds.data_use,
        case when source.list_kind = 'tailored' then source.advertiser_id end as advertiser_id,
        case when source.list_kind = 'partner' then source.partner_id end as partner_id,
        source.name as list_name,
        nullif({{ trim_white_space('source.owner') }}, '') as list_owner,
        source.normalization_profile,
        source.is_hashed,
        source.membership_days,
        source.created_at,
        source.expires_at,
        source.lawful_basis_attested_at
    from source
    inner join list_kinds
        on source.list_kind = list_kinds.list_kind
)

select * from renamed
