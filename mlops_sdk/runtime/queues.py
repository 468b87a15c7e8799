"""The queues that every environment has, whatever carries its messages. `QUEUE_dead` holds the dead letters of each."""

EVENTS = "mlops_events"
"""What happened outside, and the dates that jobs are asked for."""

TRAININGS = "mlops_trainings"
"""Training requests: a model server asks when it finds drift, whoever trains consumes."""
