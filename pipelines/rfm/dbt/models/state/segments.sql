{{ config(materialized='table') }}

select
    segment,
    count(*)::integer as customers,
    sum(monetary) as monetary,
    round(avg(recency_days), 2) as mean_recency_days
from {{ ref('scores') }}
group by segment
