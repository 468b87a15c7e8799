-- Of the purchases until the run date.
{{ config(materialized='ephemeral') }}

{{ rfm(source('release', 'purchases'), "date '" ~ var('run_date') ~ "'") }}
