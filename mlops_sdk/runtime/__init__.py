"""The environment's variables: one table of keys, rendered into files and parsed into typed settings.

It must not talk to a server; it reads and writes the `.env` files of an environment and nothing else.
"""
