"""From a manifest to its lock: refs, aliases, declared tables and versions of data, resolved once."""
