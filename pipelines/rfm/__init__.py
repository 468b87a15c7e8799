"""Recency, frequency and monetary value of customers: tables and dated jobs in SQL, and a model on top.

Releases build `customers`, `scores` and `segments`; the job `rfm` makes the same of any date; `value.py` trains what
a customer will spend. Steps are plain functions, a file each; `flow.py` strings them together under Prefect.
"""
