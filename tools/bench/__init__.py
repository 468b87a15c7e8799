"""Measurements that a person runs: `make bench` for starting, `make bench-state` for releases' tables.

Both print bars as met or missed and fail for neither: a figure is no test.
"""
