with contacts as (
    select contact_id, user_id, channel, value, purpose, collected_at, verified_at, removed_at
    from {{ input_table('raw_contacts') }}
),

purposes as (
    select purpose, is_assignable, purpose_class, is_protective, is_usable_for_matching
    from {{ ref('purposes') }}
),

-- rule 2: codes compare exactly; what the seed does not list or assign is unknown, and protective
purposed as (
    select
        contacts.contact_id,
        contacts.user_id,
        case when contacts.channel in ('email', 'phone') then contacts.channel else 'unknown' end as channel,
        contacts.value,
        contacts.purpose,
        coalesce(purposes.purpose_class, 'unknown') as purpose_class,
        coalesce(purposes.is_assignable and purposes.purpose_class <> 'unknown', false) as is_known_purpose,
        coalesce(purposes.purpose_class = 'security', false) as is_security_purpose,
        coalesce(
            purposes.is_protective or not purposes.is_assignable or purposes.purpose_class = 'unknown', true
        ) as is_protective,
        coalesce(
            purposes.is_usable_for_matching
            and purposes.is_assignable
            and purposes.purpose_class <> 'unknown'
            and purposes.purpose_class <> 'security',
            false
        ) as is_usable_for_matching,
        contacts.collected_at,
        contacts.verified_at,
        contacts.removed_at
    from contacts
    left join purposes
        on contacts.purpose = purposes.purpose
)

select * from purposed
