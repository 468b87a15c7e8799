"""What differs between two releases."""

from mlops_sdk.release.diff import EntryChange, ModelChange, ParameterChange, TableChange, diff
from mlops_sdk.release.lock import LockedCode, LockedModel
from mlops_sdk.release.tables import BuilderSpec, ColumnSpec, TableSpec
from tests.support.locks import make_lock

D = [f"sha256:{digit * 64}" for digit in "0123456789"]


def model(version: int, digest: str, **fields: object) -> LockedModel:
    return LockedModel(name="movie-embedder", version=version, digest=digest, **fields)  # type: ignore[arg-type]


def table(name: str, **fields: object) -> TableSpec:
    values: dict[str, object] = {
        "name": name,
        "kind": "derived",
        "columns": (ColumnSpec(name="id", type="bigint"),),
        "primary_key": ("id",),
        "builder": BuilderSpec(entry="a:b", digest=D[0], requirements={"numpy": "2.0"}),
        **fields,
    }
    return TableSpec(**values)  # type: ignore[arg-type]


def test_equal_locks_do_not_differ() -> None:
    assert diff(make_lock(tables=(table("a"),)), make_lock(tables=(table("a"),))).is_empty


def test_without_an_earlier_release_everything_is_added() -> None:
    new = make_lock(tables=(table("a"),), models={"e": model(1, D[1])}, service="x:y", parameters={"p": None})
    found = diff(None, new)
    assert found.code is not None and found.code.old_commit is None
    assert found.models == (ModelChange("e", "added", "movie-embedder", None, 1, None, D[1], False),)
    assert found.tables == (TableChange("a", "added", "derived", ()),)
    assert found.parameters == (ParameterChange("p", "added", None, None),)
    assert EntryChange("service", None, "x:y") in found.entries


def test_a_model_bump_is_the_model_and_the_tables_that_it_builds_through_their_upstreams() -> None:
    tables = (table("content", models=("e",)), table("similar", tables=("content",)), table("other"))
    old = make_lock(tables=tables, models={"e": model(1, D[1])})
    new = make_lock(tables=tables, models={"e": model(2, D[2], signature={"inputs": []})})
    found = diff(old, new)
    change = ModelChange("e", "changed", "movie-embedder", 1, 2, D[1], D[2], True, ("a signature came",))
    assert found.models == (change,)
    assert found.tables == (
        TableChange("content", "changed", "derived", ("model e",)),
        TableChange("similar", "changed", "derived", ("table content",)),
    )
    assert found.code is None


def test_a_model_found_by_another_alias_is_the_same_model() -> None:
    old = make_lock(models={"e": model(1, D[1], alias="candidate")})
    assert diff(old, make_lock(models={"e": model(1, D[1])})).is_empty


def test_a_changed_builder_names_its_code_and_its_packages() -> None:
    builder = BuilderSpec(entry="a:b", digest=D[3], requirements={"numpy": "2.1", "scipy": "1.0"})
    columns = (ColumnSpec(name="id", type="integer"),)
    old, new = (
        make_lock(tables=(table("a"),)),
        make_lock(tables=(table("a", builder=builder, columns=columns),)),
    )
    because = ("columns", "builder's code", "numpy 2.0 -> 2.1", "scipy none -> 1.0")
    assert diff(old, new).tables == (TableChange("a", "changed", "derived", because),)


def test_a_table_or_parameter_that_is_gone_is_removed() -> None:
    found = diff(make_lock(tables=(table("a"),), parameters={"p": 1}), make_lock())
    assert found.tables == (TableChange("a", "removed", "derived", ()),)
    assert found.parameters == (ParameterChange("p", "removed", 1, None),)
    assert found.entries == (EntryChange("state", "app.tables:STATE", None),)


def test_true_and_one_are_different_parameters() -> None:
    found = diff(make_lock(parameters={"p": 1}), make_lock(parameters={"p": True}))
    assert found.parameters == (ParameterChange("p", "changed", 1, True),)


def test_another_commit_or_other_dependencies_are_a_change_of_code() -> None:
    code = LockedCode(ref="HEAD", commit="c" * 40, tree="b" * 40, dependencies=D[1], dirty=True)
    found = diff(make_lock(), make_lock(code=code)).code
    assert found is not None
    assert (found.old_commit, found.new_commit, found.dirty) == ("a" * 40, "c" * 40, True)
    assert found.dependencies_changed
