"""The hot path of a prediction: from bytes to rows, all rows of one tick in one call, and back to bytes."""
