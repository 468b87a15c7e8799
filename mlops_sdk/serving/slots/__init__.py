"""What serves: immutable snapshots of model versions, what they take, and how requests are divided among two."""
