"""The command line `mlops`: parse, call the SDK, print. A small file a command; no decision is made here.

Modules of commands are imported by `app`; whatever is heavy is imported inside a command's function, so that
`mlops --help` costs little more than starting Python.
"""

from mlops_sdk.cli.run import main

__all__ = ["main"]
