{{ as_released('release_consent_funnel') }}
