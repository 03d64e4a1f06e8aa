with source as (
    select upload_id, list_id, operation, uploaded_at
    from {{ input_table('raw_list_uploads') }}
),

renamed as (
    select
        cast(upload_id as varchar) as upload_id,
        cast(list_id as varchar) as list_id,
        operation,
        cast(uploaded_at as timestamptz) as uploaded_at
    from source
)

select * from renamed
