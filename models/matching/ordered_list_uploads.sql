with list_uploads as (
    select upload_id, list_id, operation, uploaded_at
    from {{ ref('stg_list_uploads') }}
    where uploaded_at <= {{ as_of() }}
),

audience_lists as (
    select list_id
    from {{ ref('stg_audience_lists') }}
),

ordered as (
    select
        list_uploads.upload_id,
        list_uploads.list_id,
        list_uploads.operation,
        list_uploads.uploaded_at,
        row_number() over (
            partition by list_uploads.list_id
            order by list_uploads.uploaded_at, list_uploads.upload_id
        ) as upload_position
    from list_uploads
    inner join audience_lists
        on list_uploads.list_id = audience_lists.list_id
)

select * from ordered
