"""The training of the lifetime-value model as one function of its arguments. It must not know Prefect."""

from collections.abc import Callable

import psycopg

from mlops_sdk.errors import InputError, UnreachableError
from mlops_sdk.runtime.settings import ServiceSettings
from pipelines.rfm import registering, value


def train_value(settings: ServiceSettings, say: Callable[[str], None]) -> int | None:
    """Train on the release's own tables, judge, register; the version, None for one no better than the mean.

    The same tables and code again are no second version. Raises InputError, UnreachableError.
    """
    until = settings.parameters.get("observed_until")
    if not isinstance(until, str):
        raise InputError(
            "the release has no parameter observed_until", remedy="add it to the manifest's `parameters:`"
        )
    try:
        with psycopg.connect(settings.database_conninfo().get_secret_value()) as conn:
            train, held_out = value.read_examples(conn, until)
    except psycopg.OperationalError as error:
        raise UnreachableError(
            "the release database did not answer", where="Postgres", remedy="start it: `mlops up ENV`"
        ) from error
    known = registering.registered(settings.mlflow_tracking_uri, registering.training_digest(train))
    if known is not None:
        say(f"version {known} was made of the same tables and code")
        return known
    model = value.train(train)
    evaluation = value.evaluate(model, train, held_out)
    say(str(evaluation))
    return registering.register(
        settings.mlflow_tracking_uri, model, evaluation, train, release=settings.release
    )
