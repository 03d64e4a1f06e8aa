with audiences as (
    select list_id, advertiser_id, reported_size
    from {{ ref('audiences') }}
    where reported_size is not null
)

select * from audiences
