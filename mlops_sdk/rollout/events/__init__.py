"""What makes a release when something outside changes: code, a model of the registry, data.

`make` turns an event into the next release file, once; a command, a webhook and polling all come to it. Deciding what
the next release is belongs to `release.next_release`, deploying it to `deploy`.
"""
