"""Components of Google Cloud resources: what the kind `gcp` has around its cluster's namespace."""
