{# Recency, frequency and monetary value of each customer who has bought until a day, that day included.
   Purchases of one day are one visit: a shop's page splits a basket as it likes. #}
{% macro rfm(purchases, until) -%}
    select
        customer_id,
        {{ until }} - max(bought_on) as recency_days,
        {{ until }} - min(bought_on) as age_days,
        count(distinct bought_on)::integer as frequency,
        sum(amount) as monetary
    from {{ purchases }}
    where bought_on <= {{ until }}
    group by customer_id
{%- endmacro %}
