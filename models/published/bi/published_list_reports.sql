{{ as_released('release_list_reports') }}
