with source as (
    select consent_event_id, user_id, data_use, status, occurred_at, recorded_at, expires_at
    from {{ input_table('raw_consent_events') }}
),

renamed as (
    select
        cast(consent_event_id as varchar) as consent_event_id,
        cast(user_id as varchar) as user_id,
        data_use,
        -- whatever is not exactly a grant counts as a denial
        coalesce(status = 'granted', false) as is_granted,
        cast(occurred_at as timestamptz) as occurred_at,
        cast(recorded_at as timestamptz) as recorded_at,
        cast(expires_at as timestamptz) as expires_at
    from source
)

select * from renamed
