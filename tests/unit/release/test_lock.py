"""The lock and its file."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from mlops_sdk.errors import InputError, NotFoundError
from mlops_sdk.release.lock import Lock, LockedModel, Smoke
from mlops_sdk.release.lock_file import lock_path, lock_text, read_lock, write_lock
from mlops_sdk.release.tables import BuilderSpec, ColumnSpec, IndexColumn, IndexSpec, SourceSpec, TableSpec
from mlops_sdk.release.versioned_data import LockedData
from mlops_sdk.release.yaml_reader import read_document
from mlops_sdk.release.yaml_writer import to_yaml
from tests.support.locks import make_lock
from tests.unit.release.test_digest import JSON

DIGEST = "sha256:" + "1" * 64
DATA = LockedData(md5="0" * 32, size=1)
CONTENT = TableSpec(
    name="content",
    kind="derived",
    columns=(
        ColumnSpec(name="film_id", type="bigint"),
        ColumnSpec(name="embedding", type="vector(64)", nullable=True),
    ),
    primary_key=("film_id",),
    indexes=(
        IndexSpec(
            name="content_embedding",
            method="hnsw",
            columns=(IndexColumn(expression="embedding", opclass="vector_cosine_ops"),),
            options={"m": "16"},
        ),
    ),
    builder=BuilderSpec(entry="a.b:build", digest=DIGEST, requirements={"numpy": "2.0", "a": "1"}),
    models=("embedder",),
    sources=(SourceSpec(name="films", watermark="SELECT max(id) FROM films"),),
)


def a_lock() -> Lock:
    smoke = Smoke(input=[{"title": 'x: "#\n', "year": 1999}, [1.5, None]], output=[0.1, 1e-05])
    model = LockedModel(
        name="movie-embedder", version=1, digest=DIGEST, signature={"inputs": []}, smoke=smoke
    )
    return make_lock(tables=(CONTENT,), models={"embedder": model}, parameters={"b": 1, "a": [{}]})


def test_a_lock_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_lock(tmp_path / "v0.0.1.lock.yaml", a_lock())
    assert read_lock(tmp_path / "v0.0.1.lock.yaml") == a_lock()
    assert list(tmp_path.iterdir()) == [tmp_path / "v0.0.1.lock.yaml"]


def test_writing_a_lock_that_was_read_gives_the_same_bytes(tmp_path: Path) -> None:
    path = tmp_path / "v0.0.1.lock.yaml"
    write_lock(path, a_lock())
    first = path.read_bytes()
    write_lock(path, read_lock(path))
    assert path.read_bytes() == first


def test_the_order_in_which_maps_were_made_changes_neither_digest_nor_bytes() -> None:
    one, other = make_lock(parameters={"a": 1, "b": 2}), make_lock(parameters={"b": 2, "a": 1})
    assert one.digest == other.digest
    assert lock_text(one) == lock_text(other)


def test_the_digest_of_a_lock_never_changes_with_the_sdk() -> None:
    # If this fails, locks that people have committed are refused: give a new field a default instead.
    assert a_lock().digest == "sha256:03897da0e36c482a8d5d3cd4213195013b739d307d2ad0e5a523cec770b01ae6"


@pytest.mark.parametrize(
    "change",
    [
        {"release": "v0.0.2"},
        {"parameters": {"b": 2}},
        {"service": "a:b"},
        {"manifest": DIGEST},
        {"app": "x"},
        {"data": {"d": DATA}},
    ],
)
def test_everything_in_the_lock_is_in_the_digest(change: dict[str, Any]) -> None:
    assert make_lock(**change).digest != make_lock().digest


def test_an_edited_lock_is_refused_with_what_restores_it(tmp_path: Path) -> None:
    path = tmp_path / "v0.0.1.lock.yaml"
    write_lock(path, a_lock())
    path.write_text(path.read_text(encoding="utf-8").replace("version: 1", "version: 2"), encoding="utf-8")
    with pytest.raises(InputError, match=r"the lock was edited(.|\n)*git checkout -- "):
        read_lock(path)


@pytest.mark.parametrize("text", ["", "a: [", "schema: 1\n", "- 1\n", "schema: 1\nschema: 1\n"])
def test_a_file_that_is_no_lock_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "v0.0.1.lock.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="not a lock"):
        read_lock(path)


def test_a_lock_of_a_later_schema_says_so(tmp_path: Path) -> None:
    path = tmp_path / "v0.0.1.lock.yaml"
    path.write_text("schema: 2\n", encoding="utf-8")
    with pytest.raises(InputError, match="schema 2; this version reads schema 1"):
        read_lock(path)


def test_a_lock_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no such lock"):
        read_lock(tmp_path / "v0.0.1.lock.yaml")


def test_the_lock_is_beside_its_manifest() -> None:
    assert lock_path(Path("stacks/releases/v0.0.1-rc1.yaml")) == Path("stacks/releases/v0.0.1-rc1.lock.yaml")


def test_a_lock_is_frozen_and_strict() -> None:
    with pytest.raises(ValidationError):
        a_lock().release = "v0.0.2"
    with pytest.raises(ValidationError):
        Lock.from_document({**a_lock().document(), "models": {"a": {"name": "x", "version": "1"}}})
    with pytest.raises(ValidationError):
        Lock.from_document({**a_lock().document(), "unknown": 1})


def test_a_smoke_prediction_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValidationError):
        Smoke(input=[], output=[float("nan")])


@settings(max_examples=30)
@given(st.dictionaries(st.text(), JSON))
def test_any_json_is_written_as_yaml_that_reads_back_equal(value: dict[str, object]) -> None:
    document = read_document(to_yaml(value), "x") if value else None
    if document is not None:
        assert (document.value, document.faults) == (value, [])


@pytest.mark.parametrize(
    "text",
    ["yes", "No", "null", "~", "1", "1e3", "0x1f", "2026-01-01", "12:30:45", "a: b", "a #b", "", "-", " a"],
)
def test_text_that_could_be_read_as_something_else_is_quoted(text: str) -> None:
    assert to_yaml({"x": text}).startswith('x: "')


def test_a_lock_in_another_spelling_is_the_same_lock(tmp_path: Path) -> None:
    lock = a_lock()
    path = tmp_path / "v0.0.1.lock.yaml"
    path.write_text(json.dumps({**lock.document(), "digest": lock.digest}, indent=1), encoding="utf-8")
    assert read_lock(path) == lock


def test_a_key_that_stands_twice_in_a_lock_is_refused_though_its_digest_is_right(tmp_path: Path) -> None:
    path = tmp_path / "v0.0.1.lock.yaml"
    write_lock(path, a_lock())
    path.write_text(path.read_text() + f"release: {a_lock().release}\n")
    with pytest.raises(InputError, match="release"):
        read_lock(path)


def test_a_lock_as_it_was_written_is_read_without_the_reader_that_counts_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_lock(tmp_path / "v0.0.1.lock.yaml", a_lock())
    monkeypatch.delattr("mlops_sdk.release.lock_file.read_document")
    assert read_lock(tmp_path / "v0.0.1.lock.yaml") == a_lock()
