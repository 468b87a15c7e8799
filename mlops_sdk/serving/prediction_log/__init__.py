"""The prediction log: what each model answered, in table `mlops.prediction_log`, off the request's path.

A ring of bytes is filled on the event loop and emptied by one thread with COPY. A log must never hold up an answer:
where the ring is full, or Postgres does not take it, predictions are dropped and counted.
"""

from mlops_sdk.serving.prediction_log.log import PredictionLog
from mlops_sdk.serving.prediction_log.rows import Prediction

__all__ = ["Prediction", "PredictionLog"]
