{{ as_released('release_audiences') }}
