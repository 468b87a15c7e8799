"""A real one-node Kubernetes on this machine, for tests: Linux and root, no image and no binary is downloaded.

`binaries` builds the control plane, the node's agents and a Gateway controller from Go modules, `node` starts and
stops them, `archive` makes images without a registry and `base_image` the base that the project's own Dockerfile
stands on. No product code may know of it.
"""
