"""The project's model registry: from a manifest's reference to a verified artifact on this machine.

It must not load a model or change the registry.
"""

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mlops_sdk.errors import MlopsError, NotFoundError, PolicyError
from mlops_sdk.registry.artifact import MLMODEL_FILE, folder_digest, parse_mlmodel_text, read_mlmodel
from mlops_sdk.registry.cache import cached, empty_folder, keep
from mlops_sdk.registry.models import ResolvedModel
from mlops_sdk.registry.rest import MlflowRest, connect
from mlops_sdk.release.manifest import ModelRef

_MOST_NAMES = 20  # of models, told to who names one that is not there


@dataclass(frozen=True)
class FetchedModel:
    """A model's artifact in the cache: `folder` holds exactly the files that `digest` covers."""

    digest: str
    folder: Path


class Registry:
    """The models of the MLflow server at `uri`.

    `timeout_s` is how long a connection may take: a server that is down is reported within it. 3 s: on one
    machine or network that is ample, and a person waits for it. Every method raises UnreachableError if
    MLflow does not answer, AuthError if it refuses, NotFoundError naming what there is instead.
    """

    def __init__(self, uri: str, *, timeout_s: float = 3.0) -> None:
        self.uri = uri
        self._timeout_s = timeout_s

    def resolve(self, reference: ModelRef) -> ResolvedModel:
        """The version that `reference` means now. Raises PolicyError if it is not ready to be used."""
        with self._connect() as mlflow:
            answer = self._find(mlflow, reference)
            found: dict[str, Any] = answer["model_version"]
            version = int(found["version"])
            if found.get("status", "READY") != "READY":
                raise PolicyError(
                    f"version {version} of model {reference.name} is {found['status']}, not READY",
                    where=self.uri,
                    remedy="wait until it is registered, or name another version",
                )
            return ResolvedModel(
                name=reference.name,
                version=version,
                alias=reference.alias,
                run_id=found.get("run_id") or None,
                source=str(found.get("source", "")),
                signature=self._signature(mlflow, reference.name, version),
            )

    def newest_version(self, name: str) -> int | None:
        """The highest version of a model that is ready; None where there is none."""
        if "'" in name:
            return None  # see `_versions`
        with self._connect() as mlflow:
            found = mlflow.get(
                "model-versions/search",
                filter=f"name = '{name}'",
                order_by="version_number DESC",
                max_results="100",
            )
        ready = [v for v in found.get("model_versions", []) if v.get("status", "READY") == "READY"]
        return max((int(each["version"]) for each in ready), default=None)

    def fetch(self, name: str, version: int, cache: Path) -> FetchedModel:
        """Downloads a version into `cache`, under the digest that its artifact turns out to have."""
        with empty_folder(cache) as folder:
            self._download(name, version, folder)
            digest = folder_digest(folder)
            return FetchedModel(digest, keep(folder, digest, cache))

    def download(self, name: str, version: int, digest: str, cache: Path) -> Path:
        """The folder of a version's artifact in `cache`, downloaded unless it is there, and verified.

        Raises PolicyError if the registry's artifact is not the one that `digest` names.
        """
        if there := cached(digest, cache):
            return there
        with empty_folder(cache) as folder:
            self._download(name, version, folder)
            found = folder_digest(folder)
            if found != digest:
                raise PolicyError(
                    f"the artifact of {name} version {version} has digest {found}, locked was {digest}",
                    where=self.uri,
                    remedy="the registry's files were changed after the lock; register them as a new version",
                )
            return keep(folder, digest, cache)

    def metrics(self, run_ids: Sequence[str]) -> dict[str, dict[str, float]]:
        """The last value of each metric by run; a run that is gone has none."""
        found: dict[str, dict[str, float]] = {}
        with self._connect() as mlflow:
            for run_id in run_ids:
                try:
                    run = mlflow.get("runs/get", run_id=run_id)["run"]
                except NotFoundError:
                    continue
                metrics = run.get("data", {}).get("metrics", [])
                found[run_id] = {str(metric["key"]): float(metric["value"]) for metric in metrics}
        return found

    @contextlib.contextmanager
    def _connect(self) -> Iterator[MlflowRest]:
        with connect(self.uri, connect_timeout_s=self._timeout_s) as mlflow:
            yield mlflow

    def _download(self, name: str, version: int, folder: Path) -> None:
        with self._connect() as mlflow:
            uri = _artifact_uri(mlflow, name, version)
            path = _proxied_path(uri)
            if path is not None:
                mlflow.download(path, folder)
            else:
                _download_with_mlflow(uri, folder)
        if not (folder / MLMODEL_FILE).is_file():
            raise NotFoundError(f"the artifact of {name} version {version} has no MLmodel file", where=uri)

    def _signature(self, mlflow: MlflowRest, name: str, version: int) -> dict[str, Any] | None:
        uri = _artifact_uri(mlflow, name, version)
        path = _proxied_path(uri)
        if path is not None:
            text = mlflow.artifact_text(f"{path}/{MLMODEL_FILE}")
            return parse_mlmodel_text(text, where=f"{uri}/{MLMODEL_FILE}").signature
        with tempfile.TemporaryDirectory(prefix="mlops-model-") as folder:
            _download_with_mlflow(f"{uri}/{MLMODEL_FILE}", Path(folder))
            return read_mlmodel(Path(folder)).signature

    def _find(self, mlflow: MlflowRest, reference: ModelRef) -> dict[str, Any]:
        try:
            if reference.alias is not None:
                return mlflow.get("registered-models/alias", name=reference.name, alias=reference.alias)
            return mlflow.get("model-versions/get", name=reference.name, version=str(reference.version))
        except NotFoundError as error:
            raise self._not_found(mlflow, reference) from error

    def _not_found(self, mlflow: MlflowRest, reference: ModelRef) -> NotFoundError:
        try:
            model = mlflow.get("registered-models/get", name=reference.name)["registered_model"]
        except NotFoundError:
            names = self._names(mlflow)
            close = get_close_matches(reference.name, names, n=1)
            more = f" and {len(names) - _MOST_NAMES:,} more" if len(names) > _MOST_NAMES else ""
            shown = ", ".join(names[:_MOST_NAMES])
            known = f"registered: {shown}{more}" if names else "no model is registered"
            remedy = f"did you mean {close[0]!r}? {known}" if close else known
            return NotFoundError(f"no registered model {reference.name!r}", where=self.uri, remedy=remedy)
        if reference.alias is not None:
            aliases = [f"{each['alias']} (version {each['version']})" for each in model.get("aliases", [])]
            what = f"model {reference.name} has no alias {reference.alias!r}"
            return NotFoundError(what, where=self.uri, remedy=f"its aliases: {', '.join(aliases) or 'none'}")
        versions = self._versions(mlflow, reference.name)
        what = f"model {reference.name} has no version {reference.version}"
        return NotFoundError(what, where=self.uri, remedy=f"its versions: {', '.join(versions) or 'none'}")

    def _names(self, mlflow: MlflowRest) -> list[str]:
        found = mlflow.get("registered-models/search", max_results="100").get("registered_models", [])
        return sorted(model["name"] for model in found)

    def _versions(self, mlflow: MlflowRest, name: str) -> list[str]:
        # A name with a quote is none that MLflow lets one search for; it is not needed to say what is there.
        if "'" in name:
            return []
        found = mlflow.get("model-versions/search", filter=f"name = '{name}'", max_results="100")
        return sorted((each["version"] for each in found.get("model_versions", [])), key=int)


def _artifact_uri(mlflow: MlflowRest, name: str, version: int) -> str:
    answer = mlflow.get("model-versions/get-download-uri", name=name, version=str(version))
    return str(answer["artifact_uri"]).rstrip("/")


def _proxied_path(uri: str) -> str | None:
    """The path of an artifact that the MLflow server itself hands out; None for any other store."""
    parts = urlsplit(uri)
    if parts.scheme == "mlflow-artifacts" and not parts.netloc:
        return parts.path.strip("/")
    return None


def _download_with_mlflow(uri: str, folder: Path) -> None:
    # Stores that are read directly (a bucket, a shared folder) are MLflow's own business.
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    try:
        found = Path(download_artifacts(artifact_uri=uri, dst_path=str(folder)))
    except (MlflowException, OSError) as error:
        raise MlopsError(f"cannot download the artifact: {error}", where=uri) from error
    if found.is_dir() and found != folder:
        for path in found.iterdir():
            path.replace(folder / path.name)
        found.rmdir()
