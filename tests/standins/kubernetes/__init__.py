"""A stand-in for the official Kubernetes plugin of Pulumi: server-side apply against a real API server.

No substitute for it: no Helm, YAML or kustomize resources, no patch resources, no auto-names. What it refuses it
refuses with words; see tests/standins/README.md.
"""
