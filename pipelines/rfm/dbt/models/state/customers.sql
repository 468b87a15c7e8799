{{ config(materialized='table') }}

{{ rfm(source('release', 'purchases'), "date '" ~ var('observed_until') ~ "'") }}
