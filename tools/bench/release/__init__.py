"""Benches of the release engine: `make bench-release` runs them against one whole platform in a clone."""
