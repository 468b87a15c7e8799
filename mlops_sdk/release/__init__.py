"""What a release is: manifest, lock, tag, digest, diff.

Pure but for reading and writing the project's own files. It must not talk to a server, start a process,
or import release code.
"""
