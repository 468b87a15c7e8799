"""The demonstration that `make demo` runs: the product's commands, as a person would type them."""
