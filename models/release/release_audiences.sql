with audiences as (
    select
        list_id, advertiser_id, list_kind, partner_id, list_status, reported_size, match_rate_band,
        uploaded_entries
    from {{ ref('audiences') }}
)

select * from audiences
