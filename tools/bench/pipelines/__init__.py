"""What messages and pipelines cost: `make bench-pipelines`."""
