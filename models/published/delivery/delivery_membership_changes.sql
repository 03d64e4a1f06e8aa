{{ as_released('release_membership_changes') }}
