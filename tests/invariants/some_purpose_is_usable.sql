-- Twin of protective_purposes_never_usable: a returned row is a matching data use that no purpose of the
-- seed covers, so that nobody could ever be matched.

select list_kinds.data_use
from {{ ref('list_kinds') }} as list_kinds
where not exists (
    select 1 from {{ ref('purposes') }} as purposes
    where
        purposes.is_usable_for_matching
        and purposes.is_assignable
        and position(purposes.purpose || '.' in list_kinds.data_use || '.') = 1
)
