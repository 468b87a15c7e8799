"""What a prediction costs over HTTP, beside other model servers on the same core: `make bench-serving`."""
