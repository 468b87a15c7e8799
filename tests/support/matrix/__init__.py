"""The kill matrix: every step of every command, killed at every moment, on a real environment.

`points` generates them, `environment` keeps the situations that they need, `trial` kills and looks, `results`
remembers what was tried and writes the table.
"""
