with source as (
    select upload_id, list_id, operation, uploaded_at
    from {{ input_table('raw_list_uploads') }}
)

select * from source
