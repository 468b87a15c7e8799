{# What to call a customer, by scores of 1 to 5. #}
{% macro segment(recency, frequency) -%}
    case
        when {{ recency }} >= 4 and {{ frequency }} >= 4
        then 'champion'
        when {{ recency }} <= 2 and {{ frequency }} >= 4
        then 'at risk'
        when {{ frequency }} >= 4
        then 'loyal'
        when {{ recency }} >= 4
        then 'recent'
        when {{ recency }} <= 2
        then 'lost'
        else 'passing'
    end
{%- endmacro %}
