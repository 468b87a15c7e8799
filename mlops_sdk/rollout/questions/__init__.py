"""Questions that people ask of an environment: what was live, what differs. It changes nothing."""
