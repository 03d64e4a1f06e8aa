-- Twin of canaries_for_security_match_nothing: a returned row is an audience that may have members and
-- that a fully consenting canary did not reach, whose values stand in every list once all its uploads are
-- in. A canary counts from the moment at which its contacts and its consent are there.

with canaries as (
    select events.user_id, events.data_use
    from {{ input_table('raw_consent_events') }} as events
    inner join {{ input_table('raw_contacts') }} as contacts
        on events.user_id = contacts.user_id
    where
        events.user_id like 'canary-consented%'
        and events.status = 'granted'
        and contacts.purpose like 'ads.audience_matching%'
    group by events.user_id, events.data_use
    having
        max(events.occurred_at) <= {{ as_of() }}
        and max(events.recorded_at) <= {{ as_of() }}
        and max(contacts.collected_at) <= {{ as_of() }}
        and max(contacts.verified_at) <= {{ as_of() }}
),

audiences as (
    select audiences.list_id, audiences.advertiser_id, list_kinds.data_use
    from {{ ref('audiences') }} as audiences
    inner join {{ ref('list_kinds') }} as list_kinds
        on audiences.list_kind = list_kinds.list_kind
    where
        audiences.list_status in ('serving', 'too_small')
        and not exists (
            select 1 from {{ input_table('raw_list_uploads') }} as uploads
            where
                uploads.list_id = audiences.list_id
                and (uploads.uploaded_at is null or uploads.uploaded_at > {{ as_of() }})
        )
),

expected as (
    select audiences.list_id, audiences.advertiser_id, canaries.user_id
    from audiences
    inner join canaries
        on audiences.data_use = canaries.data_use
)

select expected.list_id, expected.advertiser_id, expected.user_id
from expected
where not exists (
    select 1 from {{ ref('member_explanations') }} as explanations
    where
        explanations.list_id = expected.list_id
        and explanations.advertiser_id = expected.advertiser_id
        and explanations.user_id = expected.user_id
)
