{{ as_released('release_published_sizes') }}
