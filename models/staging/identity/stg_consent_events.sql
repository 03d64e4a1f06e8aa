with source as (
    select consent_event_id, user_id, data_use, status, occurred_at, recorded_at, expires_at
    from {{ input_table('raw_consent_events') }}
),

renamed as (
    select
        consent_event_id,
        user_id,
        data_use,
        -- whatever is not exactly a grant counts as a denial
        coalesce(status = 'granted', false) as is_granted,
        occurred_at,
        recorded_at,
        expires_at
    from source
)

select * from renamed
