"""What changes a fingerprint, and what does not."""

from typing import Any

import pytest

from mlops_sdk.errors import InputError
from mlops_sdk.release.lock import Lock, LockedModel
from mlops_sdk.release.tables import BuilderSpec, ColumnSpec, SourceSpec, TableSpec
from mlops_sdk.state.fingerprint import explain, fingerprints, physical_name
from tests.support.locks import make_lock


def model(number: int) -> LockedModel:
    return LockedModel(name="m", version=number, digest=f"sha256:{number:064d}")


def table(**fields: Any) -> TableSpec:
    values: dict[str, Any] = {
        "name": "content",
        "kind": "derived",
        "columns": (ColumnSpec(name="id", type="integer"), ColumnSpec(name="v", type="vector(4)")),
        "primary_key": ("id",),
        "builder": BuilderSpec(entry="a:b", digest="sha256:" + "1" * 64),
        "models": ("embedder",),
        "sources": (SourceSpec(name="films", watermark="SELECT 1"),),
        "parameters": {"dimensions": None},
    }
    return TableSpec(**{**values, **fields})


def lock(*tables: TableSpec, **fields: Any) -> Lock:
    values: dict[str, Any] = {
        "models": {"embedder": model(1), "reranker": model(2)},
        "parameters": {"dimensions": 4, "candidates": 200},
    }
    return make_lock(tables=tables or (table(),), **{**values, **fields})


WATERMARKS = {"content.films": "3201"}
FIRST = fingerprints(lock(), WATERMARKS)["content"]


def test_a_fingerprint_fits_into_a_name() -> None:
    assert len(FIRST) == 26
    assert set(FIRST) <= set("abcdefghijklmnopqrstuvwxyz234567")
    assert len(physical_name("x" * 40, FIRST)) <= 63


@pytest.mark.parametrize(
    "other",
    [
        lock(release="v0.0.2"),
        lock(models={"embedder": model(1), "reranker": model(3)}),
        lock(parameters={"dimensions": 4, "candidates": 100}),
        lock(service="a.b:c"),
    ],
)
def test_what_a_table_does_not_depend_on_changes_nothing(other: Lock) -> None:
    assert fingerprints(other, {**WATERMARKS, "other.films": "9"})["content"] == FIRST


@pytest.mark.parametrize(
    ("other", "watermarks"),
    [
        (lock(models={"embedder": model(2)}), WATERMARKS),
        (lock(parameters={"dimensions": 8}), WATERMARKS),
        (lock(), {"content.films": "3202"}),
        (lock(table(columns=(ColumnSpec(name="id", type="bigint"),))), WATERMARKS),
        (lock(table(builder=BuilderSpec(entry="a:b", digest="sha256:" + "2" * 64))), WATERMARKS),
    ],
)
def test_each_input_changes_the_fingerprint(other: Lock, watermarks: dict[str, str]) -> None:
    assert fingerprints(other, watermarks)["content"] != FIRST


def test_another_pgvector_is_another_table() -> None:
    assert fingerprints(lock(), WATERMARKS, pgvector="0.9")["content"] != FIRST


def test_an_upstream_table_changes_what_is_built_from_it() -> None:
    top = table(name="top", models=(), sources=(), parameters={}, tables=("content",))
    first = fingerprints(lock(top, table()), WATERMARKS)
    second = fingerprints(lock(top, table()), {"content.films": "1"})
    assert first["content"] == FIRST
    assert first["top"] != second["top"]


@pytest.mark.parametrize(
    ("other", "watermarks", "what"),
    [
        (lock(models={}), WATERMARKS, "model embedder"),
        (lock(parameters={}), WATERMARKS, "parameter dimensions"),
        (lock(), {}, "watermark"),
    ],
)
def test_a_missing_input_is_named(other: Lock, watermarks: dict[str, str], what: str) -> None:
    with pytest.raises(InputError, match=what):
        explain(other, watermarks)
