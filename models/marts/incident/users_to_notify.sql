with affected_users as (
    select user_id
    from {{ ref('affected_users') }}
),

-- whoever has deleted the account has nothing to log in to, and left nothing to be written to
users as (
    select user_id, account_status
    from {{ input_table('raw_users') }}
    where account_status in ('active', 'deactivated', 'suspended')
),

contacts as (
    select
        contact_id, user_id, channel, purpose_class, is_protective, collected_at, verified_at, removed_at,
        normalized_value
    from {{ ref('incident_contacts') }}
),

-- a notice goes to a contact that was given for messages about the account. One that was given for security
-- carries none: to use it for something else was the fault
usable_contacts as (
    select
        contact_id,
        user_id,
        channel,
        row_number() over (
            partition by user_id
            order by case when channel = 'email' then 0 else 1 end asc, verified_at desc, contact_id asc
        ) as preference
    from contacts
    where
        purpose_class = 'service'
        and not is_protective
        and collected_at <= {{ as_of() }}
        and verified_at <= {{ as_of() }}
        and (removed_at is null or removed_at > {{ as_of() }})
        and normalized_value is not null
),

notified as (
    select
        affected_users.user_id,
        users.account_status,
        coalesce(usable_contacts.channel, 'next_login') as notify_by,
        usable_contacts.contact_id as notify_contact_id
    from affected_users
    inner join users
        on affected_users.user_id = users.user_id
    left join usable_contacts
        on
            affected_users.user_id = usable_contacts.user_id
            and usable_contacts.preference = 1
)

select * from notified
