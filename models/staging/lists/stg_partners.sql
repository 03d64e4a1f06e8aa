with source as (
    select partner_id, name, status
    from {{ input_table('raw_partners') }}
),

renamed as (
    select
        partner_id,
        name as partner_name,
        coalesce(status = 'active', false) as is_active
    from source
)

select * from renamed
