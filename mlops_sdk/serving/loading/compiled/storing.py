"""A compiled predictor as files: one JSON document, and an array a file, which workers map and share.

Nothing in it is code: reading it unpickles nothing. It must not know where the folder is kept.
"""

import json
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mlops_sdk.serving.loading.compiled.compiling import Predictor
from mlops_sdk.serving.loading.compiled.linear import LinearPredictor
from mlops_sdk.serving.loading.compiled.pipeline import PipelinePredictor, Step
from mlops_sdk.serving.loading.compiled.trees import Forest, TreePredictor

_FILE = "predictor.json"
_KINDS: dict[str, type[Any]] = {
    kind.__name__: kind for kind in (LinearPredictor, PipelinePredictor, Step, Forest, TreePredictor)
}


def write_predictor(predictor: Predictor, folder: Path) -> None:
    """Writes `predictor` into the empty folder."""
    count = 0

    def document(value: Any) -> Any:
        nonlocal count
        if isinstance(value, np.ndarray):
            if value.dtype == object:
                return {"objects": value.tolist()}
            name = f"{count}.npy"
            count += 1
            np.save(folder / name, value, allow_pickle=False)
            return {"array": name}
        if is_dataclass(value):
            parts = {each.name: document(getattr(value, each.name)) for each in fields(value)}
            return {"kind": type(value).__name__, "parts": parts}
        if isinstance(value, tuple):
            return {"items": [document(each) for each in value]}
        if isinstance(value, dict):
            return {"map": [[key, document(each)] for key, each in value.items()]}
        return {"plain": value}

    (folder / _FILE).write_text(json.dumps(document(predictor)), encoding="utf-8")


def read_predictor(folder: Path) -> Predictor:
    """The predictor of a folder. Raises OSError or ValueError where it is damaged."""

    def value(document: dict[str, Any]) -> Any:
        match document:
            case {"array": name}:
                # A plain view of the mapped file: arithmetic on a memmap costs more for each call.
                return np.asarray(np.load(folder / name, mmap_mode="r", allow_pickle=False))
            case {"objects": items}:
                found = np.empty(len(items), dtype=object)
                found[:] = items
                return found
            case {"kind": kind, "parts": parts}:
                return _KINDS[kind](**{name: value(part) for name, part in parts.items()})
            case {"items": items}:
                return tuple(value(item) for item in items)
            case {"map": pairs}:
                return {key: value(item) for key, item in pairs}
            case {"plain": plain}:
                return plain
            case _:
                raise ValueError(f"{folder / _FILE}: not a predictor")

    read: Predictor = value(json.loads((folder / _FILE).read_text(encoding="utf-8")))
    return read
