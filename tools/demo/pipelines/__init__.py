"""The demonstration that `make demo-all` runs: each pipeline is trained, released, run, released again, rolled back."""
