with source as (
    select
        list_id, list_kind, advertiser_id, partner_id, name, normalization_profile, is_hashed,
        membership_days, created_at, expires_at, lawful_basis_attested_at
    from {{ input_table('raw_audience_lists') }}
),

list_kinds as (
    select list_kind, data_use
    from {{ ref('list_kinds') }}
),

-- a list of an unknown kind has no data use, hence no audience
renamed as (
    select
        cast(source.list_id as varchar) as list_id,
        source.list_kind,
        list_kinds.data_use,
        case when source.list_kind = 'tailored' then cast(source.advertiser_id as varchar) end as advertiser_id,
        case when source.list_kind = 'partner' then cast(source.partner_id as varchar) end as partner_id,
        source.name as list_name,
        source.normalization_profile,
        cast(source.is_hashed as boolean) as is_hashed,
        cast(source.membership_days as integer) as membership_days,
        cast(source.created_at as timestamptz) as created_at,
        cast(source.expires_at as timestamptz) as expires_at,
        cast(source.lawful_basis_attested_at as timestamptz) as lawful_basis_attested_at
    from source
    inner join list_kinds
        on source.list_kind = list_kinds.list_kind
)

select * from renamed
