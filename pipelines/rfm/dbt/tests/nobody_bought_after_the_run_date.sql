-- Recency counts from the run date back.
select customer_id, recency_days from {{ ref('rfm_daily') }} where recency_days < 0
