{{ as_released('release_tailored_audience_members') }}
