"""Trains anew what has drifted: `python -m pipelines.template.retraining --mlflow-uri URL`.

Consumes the training requests that `mlops serve --training-queue QUEUE` sends, until SIGTERM or SIGINT. MLOPS_QUEUE_URL
is the database of the queue, MLOPS_PUBSUB_PROJECT its project where Pub/Sub has it. A request is one version, whoever
is killed in the middle: the version carries the request's id from the start. MLflow cannot register under a condition,
so a consumer that hung for longer than its lease, and then woke up, would make a second one of the same id.
"""

import argparse
import logging
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import closing

from mlops_sdk.errors import InputError, MlopsError, NotFoundError
from mlops_sdk.messaging import Envelope, Messenger, RefusedError
from mlops_sdk.runtime.queues import TRAININGS
from mlops_sdk.serving.drift.training_request import KIND, TrainingQueue
from pipelines.template import steps

_log = logging.getLogger(__name__)


def retrain(mlflow_uri: str, *, sample_store: str | None = None) -> Callable[[Envelope], None]:
    """The handler of training requests: one version a request.

    It raises RefusedError for a model that has no recipe here or whose data do not fit, so that the request becomes
    a dead letter with the cause, and UnreachableError without MLflow, so that it is tried again.
    """

    def handler(request: Envelope) -> None:
        model, training = request.payload.get("model"), str(request.id)
        try:
            recipe = steps.recipe_of(str(model))
        except NotFoundError as error:
            raise RefusedError(f"{error.what}: {error.remedy}") from error
        if (version := steps.version_of(recipe, mlflow_uri, training)) is not None:
            _log.info("request %s: %s version %d is of it already", training, model, version)
            return
        try:
            trained = steps.train_model(recipe, mlflow_uri, sample_store=sample_store, training=training)
        except InputError as error:
            raise RefusedError(error.what) from error
        _log.info("request %s: %s version %d: %s", training, model, trained.model_version, trained.metrics)

    return handler


def main(arguments: Sequence[str] | None = None) -> int:
    """Consume until a signal; answers the exit code."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.template.retraining")
    parser.add_argument("--mlflow-uri", required=True)
    parser.add_argument("--queue", default=TRAININGS, help="default: %(default)s, the environment's own")
    parser.add_argument("--sample-store", help="default: with the run in MLflow")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        with closing(TrainingQueue.from_environment(given.queue).open()) as transport:
            handlers = {KIND: retrain(given.mlflow_uri, sample_store=given.sample_store)}
            Messenger(transport).consume(handlers, stop=stop, batch=1)  # one takes its time
    except MlopsError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
