"""A Kubernetes cluster as deployers need it: who may ask it, its API server, forwards and a shell into it.

It must not know releases, slots or the ledger, and make no object of the platform: the Pulumi program does.
"""
