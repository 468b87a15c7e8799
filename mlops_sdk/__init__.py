"""Release code, models and state together, and roll all three back together."""

__version__ = "0.1.0"
