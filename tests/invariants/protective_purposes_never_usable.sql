-- A returned row is a purpose that the seed would let into matching although it is a security, legal or
-- unknown code, protective, or not an advertising purpose, or a code whose class or protection was changed.

select purpose
from {{ ref('purposes') }}
where
    is_usable_for_matching
    and (
        is_protective
        or purpose_class <> 'advertising'
        or purpose <> 'ads.audience_matching' and purpose not like 'ads.audience_matching.%'
    )
    or (purpose = 'security' or purpose like 'security.%')
    and (purpose_class <> 'security' or not is_protective)
    or (purpose = 'unknown' or purpose like 'legal.%')
    and not is_protective
