"""Who serves and who writes: shares of traffic, the router, and the handover from one release to another.

Must not start a service or change what a release is.
"""
