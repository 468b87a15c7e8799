{{ config(materialized='table') }}

with scored as ({{ scored(ref('rfm_until'), 5) }})

select
    date '{{ var("run_date") }}' as run_date,
    *,
    {{ segment('recency_score', 'frequency_score') }} as segment
from scored
