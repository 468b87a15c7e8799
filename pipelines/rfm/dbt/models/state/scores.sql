{{ config(materialized='table') }}

with scored as ({{ scored(ref('customers'), 5) }})

select *, {{ segment('recency_score', 'frequency_score') }} as segment
from scored
