{{ as_released('release_measurement_events_shared') }}
