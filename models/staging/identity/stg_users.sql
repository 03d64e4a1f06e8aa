with source as (
    select user_id, country_code, is_adult, account_status, created_at
    from {{ input_table('raw_users') }}
),

renamed as (
    select
        cast(user_id as varchar) as user_id,
        country_code,
        cast(is_adult as boolean) as is_adult,
        account_status,
        cast(created_at as timestamptz) as created_at
    from source
)

select * from renamed
