"""What changes a fingerprint, and what does not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_sdk.errors import InputError
from mlops_sdk.release.lock import Lock, LockedModel
from mlops_sdk.release.tables import BuilderSpec, ColumnSpec, IndexColumn, IndexSpec, SourceSpec, TableSpec
from mlops_sdk.release.versioned_data import LockedData
from mlops_sdk.state.closure import builder_spec
from mlops_sdk.state.compare import differences, leaves
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


def test_data_is_in_the_fingerprint_of_the_tables_that_are_built_from_it_by_its_hash() -> None:
    old, new = ({"d.csv": LockedData(md5=digit * 32, size=1)} for digit in "01")
    of_data = table(data=("d.csv",))
    assert fingerprints(lock(data=old), WATERMARKS)["content"] == FIRST
    before = fingerprints(lock(of_data, data=old), WATERMARKS)["content"]
    assert before not in (FIRST, fingerprints(lock(of_data, data=new), WATERMARKS)["content"])
    with pytest.raises(InputError, match=r"built from data d.csv, which the manifest has not"):
        fingerprints(lock(of_data), WATERMARKS)


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


# --- laws -------------------------------------------------------------------------------------------------

DIGESTS = st.integers(0, 10**9).map(lambda n: f"sha256:{n:064d}")
WORDS = st.text("abcdefghij_", min_size=1, max_size=8)
JSON = st.recursive(
    st.booleans() | st.integers(-9, 9) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=5,
)
COLUMNS = st.lists(WORDS, min_size=1, max_size=4, unique=True).map(
    lambda names: tuple(ColumnSpec(name=name, type="integer") for name in names)
)
BUILDERS = st.builds(
    BuilderSpec,
    entry=st.just("a:b"),
    digest=DIGESTS,
    requirements=st.dictionaries(WORDS, st.sampled_from(["1.0", "1.1", "2.0"]), min_size=1, max_size=3),
)


@st.composite
def releases(draw: st.DrawFn) -> tuple[Lock, dict[str, str]]:
    """A release in which `top` is built from `base`, with a source, a model and a parameter each."""
    tables = [
        TableSpec(
            name=name,
            kind="derived",
            columns=(columns := draw(COLUMNS)),
            primary_key=(columns[0].name,),
            builder=draw(BUILDERS),
            models=("m",),
            tables=upstream,
            sources=(SourceSpec(name="films", watermark="SELECT 1"),),
            parameters={"p": None, "constant": draw(JSON)},
            retention_s=draw(st.integers(0, 100)),
        )
        for name, upstream in (("base", ()), ("top", ("base",)))
    ]
    found = make_lock(
        draw(st.sampled_from(["v0.0.1", "v0.0.2"])),
        tables=tuple(draw(st.permutations(tables))),
        models={"m": model(draw(st.integers(1, 9))), "other": model(1)},
        parameters={"p": draw(JSON), "other": draw(JSON)},
    )
    return found, {"base.films": draw(WORDS), "top.films": draw(WORDS)}


Change = Callable[[Lock, dict[str, str]], tuple[Lock, dict[str, str]]]


def of_table(name: str, **fields: Any) -> Change:
    def change(lock: Lock, watermarks: dict[str, str]) -> tuple[Lock, dict[str, str]]:
        assert lock.state is not None
        tables = {**lock.tables, name: lock.tables[name].model_copy(update=fields)}
        return (
            lock.model_copy(update={"state": lock.state.model_copy(update={"tables": tables})}),
            watermarks,
        )

    return change


def of_lock(**fields: Any) -> Change:
    return lambda lock, watermarks: (lock.model_copy(update=fields), watermarks)


def of_builder(**fields: Any) -> Change:
    def change(lock: Lock, watermarks: dict[str, str]) -> tuple[Lock, dict[str, str]]:
        builder = lock.tables["base"].builder
        assert builder is not None
        return of_table("base", builder=builder.model_copy(update=fields))(lock, watermarks)

    return change


INDEX = IndexSpec(name="i", method="hnsw", columns=(IndexColumn(expression="v", opclass="vector_l2_ops"),))
WIDER = (ColumnSpec(name="new_column", type="bigint"),)
MATTERS: dict[str, Change] = {
    "builder": of_builder(digest="sha256:" + "f" * 64),
    "dependency": of_builder(requirements={"numpy": "9.9"}),
    "model": of_lock(models={"m": model(77), "other": model(1)}),
    "manifest parameter": of_lock(parameters={"p": "another value", "other": 1}),
    "constant": of_table("base", parameters={"p": None, "constant": "another value"}),
    "columns": of_table("base", columns=WIDER, primary_key=("new_column",)),
    "index": of_table("base", indexes=(INDEX,)),
    "index parameter": of_table("base", indexes=(INDEX.model_copy(update={"options": {"m": "8"}}),)),
    "watermark": lambda lock, watermarks: (lock, {**watermarks, "base.films": "another value"}),
    "watermark query": of_table("base", sources=(SourceSpec(name="films", watermark="SELECT 2"),)),
}
DOES_NOT: dict[str, Change] = {
    "tag": of_lock(release="v9.9.9"),
    "service": of_lock(service="x.y:z"),
    "manifest": of_lock(manifest="sha256:" + "e" * 64),
    "commit": lambda lock, watermarks: (
        lock.model_copy(update={"code": lock.code.model_copy(update={"commit": "c" * 40})}),
        watermarks,
    ),
    "another model": lambda lock, watermarks: of_lock(models={**lock.models, "other": model(99)})(
        lock, watermarks
    ),
    "the model's alias": lambda lock, watermarks: of_lock(
        models={**lock.models, "m": lock.models["m"].model_copy(update={"alias": "champion", "version": 5})}
    )(lock, watermarks),
    "another parameter": lambda lock, watermarks: of_lock(
        parameters={**lock.parameters, "other": "another value"}
    )(lock, watermarks),
    "retention": of_table("base", retention_s=12345),
    "another table's watermark": lambda lock, watermarks: (lock, {**watermarks, "gone.films": "1"}),
    "order": lambda lock, watermarks: (
        Lock.from_document(dict(reversed(lock.document().items()))),
        dict(reversed(watermarks.items())),
    ),
}


@pytest.mark.parametrize("what", MATTERS)
@given(release=releases())
def test_each_input_of_any_table_makes_another_one_of_it_and_of_what_is_built_from_it(
    release: tuple[Lock, dict[str, str]], what: str
) -> None:
    before, after = fingerprints(*release), fingerprints(*MATTERS[what](*release))
    assert before["base"] != after["base"]
    assert before["top"] != after["top"]


@pytest.mark.parametrize("what", DOES_NOT)
@given(release=releases())
def test_nothing_else_makes_another_table(release: tuple[Lock, dict[str, str]], what: str) -> None:
    assert fingerprints(*release) == fingerprints(*DOES_NOT[what](*release))


@given(first=releases(), second=releases())
def test_fingerprints_are_equal_exactly_if_the_inputs_show_no_difference(
    first: tuple[Lock, dict[str, str]], second: tuple[Lock, dict[str, str]]
) -> None:
    for table in ("base", "top"):
        differ = differences(explain(*first)[table], explain(*second)[table])
        assert (fingerprints(*first)[table] == fingerprints(*second)[table]) == (not differ)


def test_an_upstream_that_is_changed_shows_as_the_upstream_alone() -> None:
    top = table(name="top", models=(), sources=(), parameters={}, tables=("content",))
    first = explain(lock(top, table()), WATERMARKS)["top"]
    second = explain(lock(top, table()), {"content.films": "1"})["top"]
    assert [difference.path for difference in differences(first, second)] == ["tables.content"]
    assert leaves(first)["declaration.columns.v.type"] == "vector(4)"


def test_paths_tell_apart_what_is_not_equal() -> None:
    for old, new in (
        ({"a": 1}, {"a": True}),
        ({"a": {"b": 1}}, {"a.b": 1}),
        ({"a": {}}, {}),
        ({"a": []}, {"a": {}}),
        ({"a": [{"name": "x"}, {"name": "y"}]}, {"a": [{"name": "y"}, {"name": "x"}]}),
        ({"a": [{"name": "x", "v": 1}]}, {"a": {"x": {"v": 1}}}),
    ):
        assert differences(old, new)
        assert not differences(old, old)


# --- the builder's code -----------------------------------------------------------------------------------


def checkout(root: Path, **files: str) -> Path:
    for name, text in {
        "app/__init__.py": "",
        "app/build.py": "import numpy\nfrom app import features\n\ndef content(context):\n    yield []\n",
        "app/features.py": "def embed(text):\n    from app.deep import words\n    return words(text)\n",
        "app/deep.py": "def words(text):\n    return text.split()\n",
        "app/service.py": "import fastapi\n",
        "README.md": "x",
        **{key.replace("__", "/") + ".py": value for key, value in files.items()},
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_a_source_that_the_builder_imports_is_part_of_it_and_no_other(tmp_path: Path) -> None:
    first = builder_spec("app.build:content", checkout(tmp_path / "a"))
    for inside in ({"app__deep": "words = list"}, {"app__build": "import app.deep\nx = 1\n"}):
        found = builder_spec("app.build:content", checkout(tmp_path / f"in{len(str(inside))}", **inside))
        assert found.digest != first.digest
    other = checkout(tmp_path / "b", app__service="import pandas\nx = 2\n", app__unused="import app.deep\n")
    (other / "README.md").write_text("changed")
    assert builder_spec("app.build:content", other) == first


def test_packages_that_the_builder_imports_are_part_of_it_with_the_extras_that_are_asked_for(
    tmp_path: Path,
) -> None:
    first = builder_spec("app.build:content", checkout(tmp_path / "a"))
    assert set(first.requirements) == {"numpy"}
    root = checkout(tmp_path / "b", app__build="import psycopg\n\ndef content(context):\n    yield []\n")
    assert "psycopg-binary" not in builder_spec("app.build:content", root).requirements
    (root / "pyproject.toml").write_text('[project]\nname = "x"\ndependencies = ["psycopg[binary]>=3"]\n')
    assert "psycopg-binary" in builder_spec("app.build:content", root).requirements
