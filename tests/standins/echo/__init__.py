"""A plugin that keeps what it is told and does nothing: the ground of the gcp stand-in, and a double where only the
order and the inputs of resources are the question."""
