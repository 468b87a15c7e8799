"""Components of Kubernetes objects, in the namespace of an environment, wherever its cluster comes from."""
