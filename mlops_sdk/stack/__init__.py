"""Pulumi from outside: stack config from a lock, and the engine found, installed and driven.

Must not import the SDK's provider, `infra`, or anything that talks to an environment's servers.
"""
