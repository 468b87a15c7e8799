"""The stand-alone model server, `mlops serve`: settings, workers, and every API but the prediction itself."""
