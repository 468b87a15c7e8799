"""Versions of data: files and folders that DVC keeps in a cache and a remote, beside the code in git.

DVC makes versions, moves and checks them out; here is what it lacks: who may make them, whether a release's data can be
had, and whether what is there is what the release names. `dvc` runs DVC in a child process, `contents` reads what is on
disk. It must not know releases beyond their data, nor an environment.
"""
