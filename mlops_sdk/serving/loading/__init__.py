"""How a model version becomes ready to serve, in a process of its own: fetched, verified, compiled, compared."""
