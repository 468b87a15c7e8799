"""Applies a plan: each step idempotent, under a lease; what a failure showed is kept before it is turned back."""
