with contacts as (
    select contact_id, user_id, channel, value, purpose, collected_at, verified_at, removed_at
    from {{ input_table('raw_contacts') }}
),

users as (
    select user_id, country_code
    from {{ ref('stg_users') }}
),

purposes as (
    select purpose, is_assignable, purpose_class, is_protective, is_usable_for_matching
    from {{ ref('purposes') }}
),

-- a phone number without a calling code is read in the country of its user
located as (
    select
        contacts.contact_id,
        contacts.user_id,
        case when contacts.channel in ('email', 'phone') then contacts.channel else 'unknown' end as channel,
        contacts.value,
        contacts.purpose,
        contacts.collected_at,
        contacts.verified_at,
        contacts.removed_at,
        users.country_code
    from contacts
    left join users
        on contacts.user_id = users.user_id
),

{{ normalize_identifiers('located') }},

-- rule 2: codes compare exactly; what the seed does not list or assign is unknown, and protective
purposed as (
    select
        normalized_identifiers.contact_id,
        normalized_identifiers.user_id,
        normalized_identifiers.channel,
        normalized_identifiers.purpose,
        coalesce(purposes.purpose_class, 'unknown') as purpose_class,
        coalesce(purposes.is_assignable and purposes.purpose_class <> 'unknown', false) as is_known_purpose,
        coalesce(purposes.purpose_class = 'security', false) as is_security_purpose,
        coalesce(
            purposes.is_protective or not purposes.is_assignable or purposes.purpose_class = 'unknown', true
        ) as is_protective,
        coalesce(purposes.is_usable_for_matching and purposes.is_assignable, false) as is_usable_for_matching,
        normalized_identifiers.collected_at,
        normalized_identifiers.verified_at,
        normalized_identifiers.removed_at,
        normalized_identifiers.normalized_value,
        normalized_identifiers.national_number,
        normalized_identifiers.trunk_number,
        normalized_identifiers.block_key
    from normalized_identifiers
    left join purposes
        on normalized_identifiers.purpose = purposes.purpose
)

select * from purposed
