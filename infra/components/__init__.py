"""One component a file: a group of resources that only make sense together."""
