"""`mlops doctor`: whether what should hold does, and what mends it; after a restore, the world against the ledger."""
