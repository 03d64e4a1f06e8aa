{{ as_released('release_partner_audience_members') }}
