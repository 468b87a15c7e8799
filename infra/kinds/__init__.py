"""One module a kind of environment: which components it has, and what depends on what."""
