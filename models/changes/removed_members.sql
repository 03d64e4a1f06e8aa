with previous_members as (
    select list_kind, list_id, advertiser_id, user_id, contact_id, valid_until
    from {{ ref('previous_members') }}
),

members as (
    select distinct list_kind, list_id, advertiser_id, user_id
    from {{ ref('release_delivered_members') }}
),

list_kinds as (
    select list_kind, data_use
    from {{ ref('list_kinds') }}
),

users as (
    select user_id
    from {{ ref('stg_users') }}
),

contact_decisions as (
    select contact_id, data_use, user_id, decision
    from {{ ref('contact_decisions') }}
),

contact_block_keys as (
    select contact_id, block_key
    from {{ ref('usable_contact_block_keys') }}
),

advertiser_suppressions as (
    select advertiser_id, block_key
    from {{ ref('stg_advertiser_suppressions') }}
    where added_at is null or added_at <= {{ as_of() }}
),

serving_audiences as (
    select list_id, advertiser_id
    from {{ ref('audiences') }}
    where list_status = 'serving'
),

-- whoever is not delivered is removed, whatever the reason turns out to be
removed_contacts as (
    select
        previous_members.list_kind,
        previous_members.list_id,
        previous_members.advertiser_id,
        previous_members.user_id,
        previous_members.contact_id,
        previous_members.valid_until
    from previous_members
    where not exists (
        select 1 from members
        where
            members.list_kind = previous_members.list_kind
            and members.list_id = previous_members.list_id
            and members.advertiser_id = previous_members.advertiser_id
            and members.user_id = previous_members.user_id
    )
),

suppressed_contacts as (
    select distinct removed_contacts.advertiser_id, removed_contacts.contact_id
    from removed_contacts
    inner join contact_block_keys
        on removed_contacts.contact_id = contact_block_keys.contact_id
    inner join advertiser_suppressions
        on
            {{ trim_white_space('removed_contacts.advertiser_id') }} = advertiser_suppressions.advertiser_id
            and contact_block_keys.block_key = advertiser_suppressions.block_key
),

-- What stands today against each contact that was behind the membership. That a value is held for
-- protection, or was for security all along, must not be told: it looks like a contact that was removed,
-- as does every decision that is not named here
caused as (
    select
        removed_contacts.list_kind,
        removed_contacts.list_id,
        removed_contacts.advertiser_id,
        removed_contacts.user_id,
        users.user_id is null as is_erased,
        case
            when contact_decisions.decision = 'consent_denied' then 'consent_withdrawn'
            when contact_decisions.decision = 'suppressed' or suppressed_contacts.contact_id is not null
                then 'suppressed'
            when contact_decisions.decision = 'consent_expired' then 'expired'
            when contact_decisions.decision = 'accepted' then 'none'
            when
                contact_decisions.decision in (
                    'purpose_unknown', 'purpose_not_ads', 'user_not_active', 'user_not_adult', 'consent_unknown'
                )
                then 'policy_changed'
            else 'contact_removed'
        end as contact_cause,
        coalesce(removed_contacts.valid_until <= {{ as_of() }}, false) as is_over,
        serving_audiences.list_id is not null as is_serving
    from removed_contacts
    left join users
        on removed_contacts.user_id = users.user_id
    left join list_kinds
        on removed_contacts.list_kind = list_kinds.list_kind
    left join contact_decisions
        on
            removed_contacts.contact_id = contact_decisions.contact_id
            and removed_contacts.user_id = contact_decisions.user_id
            and list_kinds.data_use = contact_decisions.data_use
    left join suppressed_contacts
        on
            removed_contacts.advertiser_id = suppressed_contacts.advertiser_id
            and removed_contacts.contact_id = suppressed_contacts.contact_id
    left join serving_audiences
        on
            removed_contacts.list_id = serving_audiences.list_id
            and removed_contacts.advertiser_id = serving_audiences.advertiser_id
),

-- the first that applies to any of the contacts: what a person did goes before what became of the list
reasoned as (
    select
        list_kind,
        list_id,
        advertiser_id,
        user_id,
        case
            when bool_or(is_erased) then 'user_erased'
            when bool_or(contact_cause = 'consent_withdrawn') then 'consent_withdrawn'
            when bool_or(contact_cause = 'suppressed') then 'suppressed'
            when bool_or(contact_cause = 'contact_removed') then 'contact_removed'
            when bool_or(contact_cause = 'policy_changed') then 'policy_changed'
            when bool_or(contact_cause = 'expired' or is_over) then 'expired'
            when not bool_or(is_serving) then 'list_withdrawn'
            -- an accepted contact of a serving audience is a member while its key is among the entries
            else 'entry_removed'
        end as reason
    from caused
    group by list_kind, list_id, advertiser_id, user_id
)

select * from reasoned
