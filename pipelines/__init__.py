"""Workloads that the project releases: one package each.

They import `mlops_sdk`, never the other way round.
"""
