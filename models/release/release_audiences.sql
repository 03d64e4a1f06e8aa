with audiences as (
    select
        list_id, advertiser_id, list_kind, partner_id, list_status, reported_size, match_rate_band,
        uploaded_entries, list_owner, terms_version, lawful_basis_attested_at
    from {{ ref('audiences') }}
)

select * from audiences
