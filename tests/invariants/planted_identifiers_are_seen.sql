-- Twin of no_identifiers: a returned row is a kind of identifier that its content check does not recognize.
-- depends_on: {{ ref('list_kinds') }}

with planted as (
    select 'e-mail address' as kind, 'alice@example.com' as content
    union all
    select 'E.164 number' as kind, '+12015550123' as content
    union all
    select 'digits of a number' as kind, '12015550123' as content
    union all
    select 'hash in hex' as kind, {{ sha256_hex("'alice@example.com'") }} as content
    union all
    select 'hash in base64' as kind, '/40EUG31LC1zO2kA2QTYWxqyo8XzHgjCRd+RaQiaDcQ=' as content
)

select kind
from planted
where not {{ reads_as_identifier('content') }}
