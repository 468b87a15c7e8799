"""What the registry says about a model version, and the digest of an artifact, as data. Pure.

It must not talk to MLflow or read files.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlops_sdk.release.digest import digest_of

# Written by MLflow's own client beside a downloaded model: not part of what was registered.
ADDED_BY_DOWNLOADING = frozenset({"registered_model_meta"})


@dataclass(frozen=True)
class ResolvedModel:
    """A model version that a reference means now.

    `alias` is the one that it was found by. `source` is where the registry has its artifact. `signature` has
    MLflow's lists `inputs`, `outputs` and `params`, as far as the model has them.
    """

    name: str
    version: int
    alias: str | None
    run_id: str | None
    source: str
    signature: dict[str, Any] | None


@dataclass(frozen=True)
class MLmodel:
    """The parts of an artifact's MLmodel file that the SDK reads."""

    flavors: dict[str, dict[str, Any]]
    signature: dict[str, Any] | None
    input_example: dict[str, Any] | None

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the signature's columns, in order; empty if its inputs have no names."""
        return tuple(column["name"] for column in self._inputs if "name" in column)

    @property
    def optional_inputs(self) -> frozenset[str]:
        """Names of the columns that may be left out, as those that had missing values in training."""
        return frozenset(
            column["name"] for column in self._inputs if "name" in column and not column.get("required", True)
        )

    @property
    def _inputs(self) -> list[dict[str, Any]]:
        return (self.signature or {}).get("inputs") or []


def parse_mlmodel(document: Mapping[str, Any]) -> MLmodel:
    """The MLmodel of a YAML document that was read. Raises ValueError for what is no MLmodel file."""
    flavors = document.get("flavors")
    if not isinstance(flavors, dict):
        raise ValueError("an MLmodel file has a map `flavors`")
    signature = document.get("signature")
    return MLmodel(
        flavors=flavors,
        signature=_signature(signature) if isinstance(signature, dict) else None,
        input_example=document.get("saved_input_example_info") or None,
    )


def artifact_digest(files: Mapping[str, str]) -> str:
    """The digest of a model's artifact: of its relative POSIX paths with the sha256 (hex) of each file.

    What downloading itself adds does not count.
    """
    listed = [[path, files[path]] for path in sorted(files) if path not in ADDED_BY_DOWNLOADING]
    return digest_of(listed)


def _signature(document: Mapping[str, Any]) -> dict[str, Any]:
    # MLflow keeps each part as JSON inside the YAML.
    parts = {name: document.get(name) for name in ("inputs", "outputs", "params")}
    return {name: json.loads(text) for name, text in parts.items() if isinstance(text, str)}
