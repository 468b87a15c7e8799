-- What the models of rfm_daily say, by hand; {day} is the date.
CREATE TABLE bare.rfm_psql AS
WITH rfm AS (
    SELECT customer_id, date '{day}' - max(bought_on) AS recency_days, date '{day}' - min(bought_on) AS age_days,
           count(DISTINCT bought_on)::integer AS frequency, sum(amount) AS monetary
      FROM bare.purchases WHERE bought_on <= date '{day}' GROUP BY customer_id
), scored AS (
    SELECT customer_id, recency_days, frequency, monetary,
           least(5, 1 + floor(5 * percent_rank() OVER (ORDER BY recency_days DESC)))::integer AS recency_score,
           least(5, 1 + floor(5 * percent_rank() OVER (ORDER BY frequency)))::integer AS frequency_score,
           least(5, 1 + floor(5 * percent_rank() OVER (ORDER BY monetary)))::integer AS monetary_score
      FROM rfm
)
SELECT date '{day}' AS run_date, *,
       CASE WHEN recency_score >= 4 AND frequency_score >= 4 THEN 'champion'
            WHEN recency_score <= 2 AND frequency_score >= 4 THEN 'at risk'
            WHEN frequency_score >= 4 THEN 'loyal' WHEN recency_score >= 4 THEN 'recent'
            WHEN recency_score <= 2 THEN 'lost' ELSE 'passing' END AS segment
  FROM scored
