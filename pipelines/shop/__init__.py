"""A shop's films and customers in one release: the recommender's service and tables, and RFM's tables and jobs.

It shows how pipelines are put together: `tables.py` is all that there is. What each part does is in its own package.
"""
