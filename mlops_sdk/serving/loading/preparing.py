"""What is done with a model version before it may serve: fetched, verified, loaded, compiled, compared, timed.

It runs in a process of its own (`loading_process`), for unpickling and importing would hold up every request. What it
finds out is kept beside the artifact, so that a version is prepared once a machine. It must not serve.
"""

import hashlib
import json
import os
import platform
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from mlops_sdk import __version__
from mlops_sdk.errors import InputError, MlopsError
from mlops_sdk.registry import smoke
from mlops_sdk.registry.artifact import read_mlmodel
from mlops_sdk.registry.cache import cached, empty_folder
from mlops_sdk.registry.client import Registry
from mlops_sdk.registry.load import Model, SklearnModel, load
from mlops_sdk.release.digest import short
from mlops_sdk.release.manifest import ModelRef
from mlops_sdk.serving.loading.compiled.compiling import Predictor, compile_estimator
from mlops_sdk.serving.loading.compiled.parity import compare, probes
from mlops_sdk.serving.loading.compiled.storing import read_predictor, write_predictor
from mlops_sdk.serving.loading.own import Form, OwnPredictor, as_array, frame_of, seconds_of
from mlops_sdk.serving.slots.inputs import Inputs, inputs_of

_NOTE = "prepared.json"
# Raised with each change of what a prepared folder holds or of how it is made.
_SCHEME = 1
_MANY = 64


@dataclass(frozen=True)
class Prepared:
    """A model version that can serve. `folder` is its verified artifact.

    `compiled` is the folder of its compiled predictor, empty if the model's own predict is used, in `form`; `note`
    says how either came about. A call costs about `call_s` and `row_s` for each row. `smoke` is the answer to the
    example that it was registered with.
    """

    name: str
    version: int
    digest: str
    folder: str
    signature: dict[str, Any] | None
    width: int | None
    missing: bool
    compiled: str
    form: Form
    note: str
    call_s: float
    row_s: float
    smoke: list[JsonValue] | None

    def inputs(self) -> Inputs:
        """What the model takes."""
        return inputs_of(self.signature, width=self.width, missing=self.missing)

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Order:
    """Which version to prepare: by reference, or under a release by version and the `digest` that is locked."""

    mlflow_uri: str
    cache: str
    name: str
    version: int | None = None
    alias: str | None = None
    digest: str | None = None


def prepare(order: Order) -> Prepared:
    """The version that `order` means, ready to serve.

    Raises NotFoundError, UnreachableError and AuthError of the registry, PolicyError if an artifact is not the locked
    one, InputError for a model that cannot be served by rows, MlopsError if it does not load.
    """
    registry, cache = Registry(order.mlflow_uri), Path(order.cache)
    version, digest = order.version, order.digest
    if digest is None:
        found = registry.resolve(ModelRef(name=order.name, version=order.version, alias=order.alias))
        version = found.version
        digest = _known_digest(cache, order.mlflow_uri, found.name, version, found.source)
        if digest is None:
            fetched = registry.fetch(found.name, version, cache)
            digest = fetched.digest
            _remember_digest(cache, order.mlflow_uri, found.name, version, found.source, digest)
    assert version is not None
    folder = registry.download(order.name, version, digest, cache)
    place = _place(cache, digest)
    facts = _read(place)
    if facts is None:
        if not os.access(cache, os.W_OK):
            # A service may run as an account that may only read what a deployer has fetched.
            cache = Path(tempfile.mkdtemp(prefix="mlops-prepared-"))
            place = _place(cache, digest)
        _make(folder, place, cache)
        facts = _read(place)
        assert facts is not None
    return _prepared(order.name, version, digest, folder, place, facts)


def already_prepared(order: Order) -> Prepared | None:
    """What an earlier `prepare` of a locked version has kept, without importing what models need; None if nothing."""
    if order.version is None or order.digest is None:
        return None
    cache = Path(order.cache)
    place = _place(cache, order.digest)
    facts = _read(place)
    folder = cached(order.digest, cache) if facts else None
    if facts is None or folder is None:
        return None
    return _prepared(order.name, order.version, order.digest, folder, place, facts)


def _place(cache: Path, digest: str) -> Path:
    return cache / f"prepared-{short(digest)}-{_fingerprint()}"


def _prepared(
    name: str, version: int, digest: str, folder: Path, place: Path, facts: Mapping[str, Any]
) -> Prepared:
    named = {"name": name, "version": version, "digest": digest, "folder": str(folder)}
    return Prepared(**{**facts, **named, "compiled": str(place) if facts["compiled"] else ""})


def _read(place: Path) -> dict[str, Any] | None:
    try:
        found = json.loads((place / _NOTE).read_text(encoding="utf-8"))
        if found["compiled"]:
            read_predictor(place)
        return dict(found)
    except (OSError, ValueError, KeyError):
        return None  # not there yet, or damaged: it is made anew


def _make(folder: Path, place: Path, cache: Path) -> None:
    """Prepare the artifact in `folder`; the folder `place` appears whole or not at all."""
    with empty_folder(cache) as fresh:
        facts = facts_of(folder, fresh)
        (fresh / _NOTE).write_text(json.dumps(facts), encoding="utf-8")
        fresh.chmod(0o755)
        if place.exists():
            shutil.rmtree(place)  # damaged, else it would have been read
        fresh.rename(place)


def facts_of(folder: Path, fresh: Path) -> dict[str, Any]:
    """What is to be known of the artifact in `folder`; its compiled predictor, if it has one, is written to `fresh`."""
    mlmodel, model = read_mlmodel(folder), load(folder)
    estimator = model.estimator if isinstance(model, SklearnModel) else None
    width = getattr(estimator, "n_features_in_", None)
    missing = _takes_missing(estimator)
    inputs = inputs_of(mlmodel.signature, width=width, missing=missing)
    example = _example(folder, inputs)
    form = _form(model, inputs, example)
    own = OwnPredictor(model, inputs, form)
    compiled, note = _compiled(model, own, inputs, example)
    if compiled is not None:
        write_predictor(compiled, fresh)
    chosen = own if compiled is None else compiled
    rows = example if example is not None and len(example) else _zeros(inputs)
    call_s = seconds_of(chosen.predict, rows[:1])
    many_s = seconds_of(chosen.predict, np.repeat(rows[:1], _MANY, axis=0), tries=3)
    return {
        "signature": mlmodel.signature,
        "width": width,
        "missing": missing,
        "compiled": compiled is not None,
        "form": form,
        "note": note,
        "call_s": call_s,
        "row_s": max(0.0, (many_s - call_s) / (_MANY - 1)),
        "smoke": _smoke(folder, model),
    }


def _compiled(
    model: Model, own: OwnPredictor, inputs: Inputs, example: NDArray[Any] | None
) -> tuple[Predictor | None, str]:
    """The compiled predictor, or None, and how it came about."""
    if not isinstance(model, SklearnModel):
        return None, "the model's own predict: only scikit-learn models are compiled"
    kind = type(model.estimator).__name__
    compiled = compile_estimator(model.estimator, model.method.__name__)
    if compiled is None:
        return None, f"the model's own predict: no compiled form of {kind}.{model.method.__name__} is known"
    rows = probes(inputs, example, compiled)
    single = inputs.dtype == np.float32
    try:
        answers = own.predict(rows)
        differs = compare(answers, compiled.predict(rows), single=single)
    except (ValueError, TypeError, KeyError, IndexError, MlopsError) as error:
        differs = f"{type(error).__name__}: {error}"
    if differs:
        return None, f"the model's own predict: compiled, {kind} did not answer alike: {differs}"
    return compiled, f"compiled: {kind} answered {len(rows)} rows alike"


def _form(model: Model, inputs: Inputs, example: NDArray[Any] | None) -> Form:
    """`array` where the model answers an array as it does the DataFrame that MLflow would give it."""
    if not inputs.names:
        return "array"
    if not isinstance(model, SklearnModel) or inputs.has_text:
        return "frame"
    rows = example if example is not None and len(example) else _zeros(inputs)
    try:
        plain = as_array(model.method(rows))
        named = as_array(model.method(frame_of(rows, inputs)))
    except (ValueError, TypeError, KeyError, IndexError, AttributeError):
        return "frame"  # a step of it needs the names of columns
    return "frame" if compare(named, plain, single=inputs.dtype == np.float32) else "array"


def _takes_missing(estimator: Any) -> bool:
    if estimator is None:
        return False
    from sklearn.utils import get_tags

    try:
        return bool(get_tags(estimator).input_tags.allow_nan)
    except (AttributeError, TypeError):
        return False  # an estimator of somebody else's, without tags


def _example(folder: Path, inputs: Inputs) -> NDArray[Any] | None:
    try:
        rows = smoke.read_example(folder)
        if not rows:
            return None
        listed = inputs.ordered(rows) if isinstance(rows[0], dict) else rows
        return inputs.matrix(_as_typed(listed, inputs))
    except InputError:
        return None  # an example of another form than the signature's: the ranges must do


def _as_typed(rows: list[Any], inputs: Inputs) -> list[Any]:
    """Whole numbers that JSON wrote as `5.0`, as what they are."""
    whole = [column.kind == "whole" for column in inputs.columns]
    if not any(whole):
        return rows
    return [
        [
            int(v) if w and isinstance(v, float) and v.is_integer() else v
            for v, w in zip(row, whole, strict=False)
        ]
        for row in rows
    ]


def _zeros(inputs: Inputs) -> NDArray[Any]:
    rows = np.zeros((1, inputs.width), dtype=inputs.dtype)
    for number, column in enumerate(inputs.columns):
        if column.kind == "text":
            rows[0, number] = ""
    return rows


def _smoke(folder: Path, model: Model) -> list[JsonValue] | None:
    try:
        example = smoke.read_example(folder)
        return None if example is None else smoke.predict(model, example)
    except InputError:
        return None  # an example of a form that is no rows


def _fingerprint() -> str:
    """What a compiled predictor's bytes, and its being right, depend on beside the artifact."""
    parts = [_SCHEME, __version__, np.__version__, version_of("scikit-learn"), platform.machine()]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:8]


def _digest_note(cache: Path, uri: str, name: str, version: int, source: str) -> Path:
    key = hashlib.sha256(json.dumps([uri, name, version, source]).encode()).hexdigest()[:24]
    return cache / f".digest-{key}"


def _known_digest(cache: Path, uri: str, name: str, version: int, source: str) -> str | None:
    """The digest that this version's artifact had: a version's files never change, a cached one is verified anyway."""
    try:
        return _digest_note(cache, uri, name, version, source).read_text(encoding="utf-8") or None
    except FileNotFoundError:
        return None


def _remember_digest(cache: Path, uri: str, name: str, version: int, source: str, digest: str) -> None:
    note = _digest_note(cache, uri, name, version, source)
    fresh = note.with_suffix(".new")
    fresh.write_text(digest, encoding="utf-8")
    fresh.replace(note)


def order_of(document: Mapping[str, Any]) -> Order:
    """The order of a JSON object."""
    return Order(**document)
