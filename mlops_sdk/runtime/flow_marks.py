"""How a flow run says which release it is of: marks that Prefect keeps, and shows to who asks. Only names."""

ASKED_TAG = "digest:"
"""Begins the tag of a flow run that names the digest of the release which it was started for."""

REPORTED_LABEL = "mlops.release_digest"
"""The label of a flow run in which its process says whose code it runs."""

FLOW_TAG = "mlops:flow"
"""The tag of a deployment that is a release's own flow: its schedule follows the pointer."""
