with source as (
    select user_id, country_code, is_adult, account_status, created_at
    from {{ input_table('raw_users') }}
)

select * from source
