"""A film recommender: text embeddings find candidates, a gradient boosting model orders them.

See README.md beside this file for its tables, models and service.
"""
