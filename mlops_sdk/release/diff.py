"""What differs between two releases, as data. Pure: it compares locks and decides nothing.

Whether a table is reused, forked or built is not decided here: that takes fingerprints and an environment.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from mlops_sdk.release.digest import canonical_json
from mlops_sdk.release.lock import Lock, LockedModel
from mlops_sdk.release.signature import signature_delta
from mlops_sdk.release.tables import BuilderSpec, TableSpec
from mlops_sdk.release.versioned_data import LockedData

Kind = Literal["added", "removed", "changed"]


@dataclass(frozen=True)
class CodeChange:
    """Another commit, or uncommitted changes that were or are taken in."""

    old_commit: str | None
    new_commit: str
    dirty: bool
    dependencies_changed: bool


@dataclass(frozen=True)
class ModelChange:
    """Another version or artifact under one key. Old or new is None where there is no model.

    `signature` has a line for each column that came, went or changed.
    """

    key: str
    kind: Kind
    name: str
    old_version: int | None
    new_version: int | None
    old_digest: str | None
    new_digest: str | None
    signature_changed: bool
    signature: tuple[str, ...] = ()


@dataclass(frozen=True)
class TableChange:
    """A declared table that differs. `because` names what: `columns`, `model embedder`, `table x` ..."""

    name: str
    kind: Kind
    table_kind: str
    because: tuple[str, ...]


@dataclass(frozen=True)
class ParameterChange:
    """A parameter that differs. None stands for JSON's null, and for absent as `kind` says."""

    name: str
    kind: Kind
    old: object
    new: object


@dataclass(frozen=True)
class DataChange:
    """Another version of a file or folder of data. None: the release has none of that path."""

    path: str
    kind: Kind
    old_md5: str | None
    new_md5: str | None


@dataclass(frozen=True)
class EntryChange:
    """Another entry point of service, state or jobs, or another flow. None: the release has none.

    `what` is `service`, `state`, `jobs` or `flow NAME`; a flow's text says when it runs, and with what.
    """

    what: str
    old: str | None
    new: str | None


@dataclass(frozen=True)
class Diff:
    """Everything that differs; empty for two locks of equal content."""

    code: CodeChange | None
    models: tuple[ModelChange, ...]
    tables: tuple[TableChange, ...]
    parameters: tuple[ParameterChange, ...]
    entries: tuple[EntryChange, ...]
    data: tuple[DataChange, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether nothing differs."""
        return not (self.code or self.models or self.tables or self.parameters or self.entries or self.data)


def diff(old: Lock | None, new: Lock) -> Diff:
    """What changes from `old` to `new`; with no `old` all is added. Each part is in the order of keys."""
    tables = _Tables(old, new)
    return Diff(
        code=_code(old, new),
        models=tuple(_models(old.models if old else {}, new.models)),
        tables=tuple(tables.changes()),
        parameters=tuple(_parameters(old.parameters if old else {}, new.parameters)),
        entries=tuple(_entries(old, new)),
        data=tuple(_data(old.data if old else {}, new.data)),
    )


def _code(old: Lock | None, new: Lock) -> CodeChange | None:
    if old and (old.code.commit, old.code.dependencies) == (new.code.commit, new.code.dependencies):
        return None
    return CodeChange(
        old_commit=old.code.commit if old else None,
        new_commit=new.code.commit,
        dirty=new.code.dirty or bool(old and old.code.dirty),
        dependencies_changed=old is None or old.code.dependencies != new.code.dependencies,
    )


def _models(old: Mapping[str, LockedModel], new: Mapping[str, LockedModel]) -> Iterator[ModelChange]:
    for key in sorted({*old, *new}):
        before, after = old.get(key), new.get(key)
        if before and after and _pin(before) == _pin(after):
            continue  # another alias, or a smoke prediction recorded anew, is no other model
        present = after or before
        assert present
        yield ModelChange(
            key=key,
            kind=_kind(before is not None, after is not None),
            name=present.name,
            old_version=before.version if before else None,
            new_version=after.version if after else None,
            old_digest=before.digest if before else None,
            new_digest=after.digest if after else None,
            signature_changed=bool(before and after and before.signature != after.signature),
            signature=signature_delta(before.signature, after.signature) if before and after else (),
        )


def _pin(model: LockedModel) -> tuple[str, int, str]:
    return (model.name, model.version, model.digest)


def _parameters(old: Mapping[str, object], new: Mapping[str, object]) -> Iterator[ParameterChange]:
    for name in sorted({*old, *new}):
        # By canonical JSON: to Python 1 equals True and 1.0, to a digest it does not.
        if name in old and name in new and canonical_json(old[name]) == canonical_json(new[name]):
            continue
        yield ParameterChange(name, _kind(name in old, name in new), old.get(name), new.get(name))


def _entries(old: Lock | None, new: Lock) -> Iterator[EntryChange]:
    before, after = _entry_points(old) if old else {}, _entry_points(new)
    for what in [*after, *(gone for gone in before if gone not in after)]:
        if before.get(what) != after.get(what):
            yield EntryChange(what, before.get(what), after.get(what))


def _entry_points(lock: Lock) -> dict[str, str]:
    found = {"service": lock.service, "state": lock.state.entry if lock.state else None, "jobs": lock.jobs}
    flows = {f"flow {name}": flow.words() for name, flow in sorted(lock.flows.items())}
    return {**{what: entry for what, entry in found.items() if entry is not None}, **flows}


def _data(old: Mapping[str, LockedData], new: Mapping[str, LockedData]) -> Iterator[DataChange]:
    for path in sorted({*old, *new}):
        before, after = old.get(path), new.get(path)
        if before != after:
            kind = _kind(before is not None, after is not None)
            yield DataChange(path, kind, before.md5 if before else None, after.md5 if after else None)


def _kind(before: bool, after: bool) -> Kind:
    if before and after:
        return "changed"
    return "added" if after else "removed"


class _Tables:
    """Compares tables with what they are built from, through declared tables upstream."""

    def __init__(self, old: Lock | None, new: Lock) -> None:
        self._old = old.tables if old else {}
        self._new = new.tables
        self._old_models = old.models if old else {}
        self._new_models = new.models
        self._old_data = old.data if old else {}
        self._new_data = new.data
        self._reasons: dict[str, tuple[str, ...]] = {}

    def changes(self) -> Iterator[TableChange]:
        for name in sorted({*self._old, *self._new}):
            kind = _kind(name in self._old, name in self._new)
            because = self._because(name) if kind == "changed" else ()
            if kind != "changed" or because:
                spec = self._new.get(name) or self._old[name]
                yield TableChange(name, kind, spec.kind, because)

    def _because(self, name: str) -> tuple[str, ...]:
        if name not in self._reasons:
            self._reasons[name] = ()  # a table that is built from itself ends here
            self._reasons[name] = tuple(self._compare(self._old[name], self._new[name]))
        return self._reasons[name]

    def _data_differs(self, path: str) -> bool:
        before, after = self._old_data.get(path), self._new_data.get(path)
        return before is not None and after is not None and before != after

    def _compare(self, old: TableSpec, new: TableSpec) -> Iterator[str]:
        before, after = old.document(), new.document()
        for field in TableSpec.model_fields:
            if field != "builder" and canonical_json(before.get(field)) != canonical_json(after.get(field)):
                yield field.replace("_", " ")
        yield from _builder(old.builder, new.builder)
        for key in new.models:
            old_model, new_model = self._old_models.get(key), self._new_models.get(key)
            if old_model and new_model and old_model.digest != new_model.digest:
                yield f"model {key}"
        yield from (f"data {path}" for path in new.data if self._data_differs(path))
        for upstream in new.tables:
            if upstream in self._old and upstream in self._new and self._because(upstream):
                yield f"table {upstream}"


def _builder(old: BuilderSpec | None, new: BuilderSpec | None) -> Iterator[str]:
    if old is None or new is None:
        if old is not new:
            yield "builder"
        return
    if old.entry != new.entry:
        yield "builder"
    if old.digest != new.digest:
        yield "builder's code"
    for name in sorted({*old.requirements, *new.requirements}):
        before, after = old.requirements.get(name, "none"), new.requirements.get(name, "none")
        if before != after:
            yield f"{name} {before} -> {after}"
