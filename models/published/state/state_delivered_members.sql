{{ as_released('release_delivered_members') }}
