"""A concierge of twenty small models that share the state of a conversation: one release, one table, one rollback."""
