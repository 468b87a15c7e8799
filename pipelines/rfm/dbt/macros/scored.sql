{# Scores from 1 to `levels`, the best customers highest; equal customers have equal scores. #}
{% macro score(value, levels) -%}
    least(
        {{ levels }},
        1 + floor({{ levels }} * percent_rank() over (order by {{ value }}))
    )::integer
{%- endmacro %}

{% macro scored(customers, levels) -%}
    select
        customer_id,
        recency_days,
        frequency,
        monetary,
        {{ score('recency_days desc', levels) }} as recency_score,
        {{ score('frequency', levels) }} as frequency_score,
        {{ score('monetary', levels) }} as monetary_score
    from {{ customers }}
{%- endmacro %}
