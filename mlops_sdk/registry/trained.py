"""Puts a trained scikit-learn model into MLflow's registry, with MLflow's own client: each training is one version.

A version carries the tag `training`, a digest of all that the training was made of: one that has a version is not
registered again, so a flow run that was killed goes on where it stopped. It must not train or judge. It imports mlflow,
so only what trains imports it.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

# MLflow asks Git for the commit of the running script and warns without Git; the lock knows the commit.
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
# Its own seven tries with doubling waits hide a stopped server for minutes; a flow run can be started again.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "1")

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.models import infer_signature
from mlflow.tracking import MlflowClient

from mlops_sdk.errors import UnreachableError

TRAINING_TAG = "training"
_ALIAS_DUE_TAG = "alias_due"  # the alias that a version is to get; gone once it has it
# What loading and calling the models needs. Given here because MLflow would infer it, 9 s a model.
_REQUIREMENTS = ("scikit-learn", "numpy", "scipy", "pandas")
# MLflow wraps what `requests` could not reach, without a code of its own.
_AWAY = ("Max retries exceeded", "Connection refused", "timed out")

# A flow logs one line a version; MLflow's own remarks (a pickle, a URL a run) say nothing new.
for _name in ("mlflow.sklearn", "mlflow.models.model", "mlflow.tracking._model_registry.fluent"):
    logging.getLogger(_name).setLevel(logging.ERROR)


@contextmanager
def asking(tracking_uri: str) -> Iterator[MlflowClient]:
    """A client of the server, which `mlflow` itself asks too. Raises UnreachableError when it does not answer."""
    mlflow.set_tracking_uri(tracking_uri)
    try:
        yield MlflowClient(tracking_uri)
    except MlflowException as error:
        if not any(text in str(error) for text in _AWAY):
            raise
        raise UnreachableError(
            "MLflow did not answer", where=tracking_uri, remedy="start it: `mlops up ENV`"
        ) from error


def registered(client: MlflowClient, name: str) -> dict[tuple[str, str], int]:
    """The first version of each training, by model and training; `name` may end with `%` for all that begin so.

    A training that was killed between its version and the alias is brought to its end here, unless a later one has it.
    """
    wanted = f"name LIKE '{name}'" if name.endswith("%") else f"name = '{name}'"
    found: dict[tuple[str, str], int] = {}
    page = client.search_model_versions(wanted)
    while page:
        for one in page:
            key, number = (one.name, one.tags.get(TRAINING_TAG, "")), int(one.version)
            found[key] = min(number, found.get(key, number))
            if _ALIAS_DUE_TAG in one.tags:
                _give_alias(client, one.name, number, one.tags[_ALIAS_DUE_TAG])
        if not page.token:
            break
        page = client.search_model_versions(wanted, page_token=page.token)
    return found


def log_model(model: Any, name: str, example: Any, answers: Any, *, predict_fn: str = "predict") -> str:
    """Log the model with the run under way; its URI. `answers` are the model's own for the `example`."""
    logged = mlflow.sklearn.log_model(
        model,
        name=name,
        # The registry is the project's own, and a plain pickle loads without a further library.
        serialization_format=mlflow.sklearn.SERIALIZATION_FORMAT_PICKLE,
        pyfunc_predict_fn=predict_fn,
        pip_requirements=[f"{each}=={version(each)}" for each in _REQUIREMENTS],
        signature=infer_signature(example, answers),
        input_example=example,
    )
    return str(logged.model_uri)


def make_version(
    client: MlflowClient, uri: str, name: str, training: str, *, description: str = "", alias: str = ""
) -> int:
    """Make what was logged at `uri` a version of model `name`; its number. It has its tag from the start."""
    tags = {TRAINING_TAG: training, **({_ALIAS_DUE_TAG: alias} if alias else {})}
    created = mlflow.register_model(uri, name, await_registration_for=0, tags=tags)
    if description:
        client.update_model_version(name, created.version, description=description)
    if alias:
        _give_alias(client, name, int(created.version), alias)
    return int(created.version)


def _give_alias(client: MlflowClient, name: str, number: int, alias: str) -> None:
    now = client.get_registered_model(name).aliases.get(alias)
    if now is None or int(now) < number:
        client.set_registered_model_alias(name, alias, str(number))
    client.delete_model_version_tag(name, str(number), _ALIAS_DUE_TAG)
