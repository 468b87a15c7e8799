"""The releases of an environment as the page shows them: what the live one is, which are kept, the way back. Pure."""

from dataclasses import dataclass
from typing import Literal

from mlops_sdk.release.binding import Binding
from mlops_sdk.release.lock import Lock
from mlops_sdk.rollout.agent.page.look import Recorded
from mlops_sdk.rollout.agent.page.words import short_digest, size
from mlops_sdk.rollout.observed.readiness import Readiness


@dataclass(frozen=True)
class Step:
    """One line of the way back: all is there, something is done first, or something is missing."""

    tone: Literal["ok", "warn", "bad"]
    words: str
    remedy: str = ""


@dataclass(frozen=True)
class Back:
    """The way back: to which release, by which command, and whether it is ready. Without one, `why_not` says why."""

    release: str
    command: str
    steps: tuple[Step, ...]
    why_not: str = ""


@dataclass(frozen=True)
class ModelRow:
    """A model version of a release, and its page in the registry."""

    key: str
    name: str
    version: int
    digest: str
    link: str


@dataclass(frozen=True)
class TableRow:
    """A declared table of a release; what is not known is empty."""

    name: str
    kind: str
    rows: str
    size: str
    fingerprint: str
    note: str


@dataclass(frozen=True)
class ReleaseView:
    """A release: code, models and tables."""

    release: str
    digest: str
    commit: str
    ref: str
    dirty: bool
    pg_schema: str
    models: tuple[ModelRow, ...]
    tables: tuple[TableRow, ...]


@dataclass(frozen=True)
class KeptRow:
    """A release that is kept. `service` is ready, down or none; `back` is `Readiness.word`, empty for the live one.

    `note` says that it is blocked, and why, or paused.
    """

    release: str
    digest: str
    slot: str
    service: Literal["ready", "down", "none"]
    port: int
    pg_schema: str
    back: str
    note: str


def binding_of(found: Recorded | None, digest: str | None) -> Binding | None:
    """The binding of a release that was ever bound here."""
    if found is None or digest is None:
        return None
    return next((binding for binding in found.bindings if binding.digest == digest), None)


def back(found: Recorded, environment: str) -> Back | None:
    """Return the way back from what is live; None where nothing is."""
    if found.pointer.digest is None:
        return None
    target = binding_of(found, found.back_to)
    if target is None:
        others = "".join(
            f'; `mlops rollback {environment} --to {kept.release} -m "why"` goes to {kept.release}'
            for kept in kept_rows(found)
            if kept.back in ("yes", "slowly")
        )
        return Back("", "", (), f"There is no earlier verified release{others}.")
    command = f'mlops rollback {environment} --to {target.release} -m "why"'
    return Back(target.release, command, _steps(found.readiness.get(target.digest)))


def _steps(readiness: Readiness | None) -> tuple[Step, ...]:
    if readiness is None:
        return ()
    missing = [Step("bad", f"missing: {reason.what}", reason.remedy) for reason in readiness.missing]
    first = [Step("warn", f"first: {what}") for what in readiness.first]
    return (*missing, *first) or (Step("ok", "ready: tables, code, models and service are there"),)


def kept_rows(found: Recorded) -> tuple[KeptRow, ...]:
    """Return the kept releases, the newest first."""
    kept = {one.digest for one in found.intended.releases}
    return tuple(_kept(found, binding) for binding in reversed(found.bindings) if binding.digest in kept)


def _kept(found: Recorded, binding: Binding) -> KeptRow:
    digest, intended = binding.digest, found.intended
    readiness = found.readiness.get(digest)
    slot = "current" if digest == intended.live else "next" if digest == intended.following else "kept"
    blocked = found.blocked.get(digest)
    paused = found.paused == binding.release
    notes = ([f"blocked: {blocked}"] if blocked is not None else []) + (["paused"] if paused else [])
    return KeptRow(
        release=binding.release,
        digest=short_digest(digest),
        slot=slot,
        service="none" if intended.port_of(digest) is None else "ready" if found.answers(digest) else "down",
        port=binding.service_port,
        pg_schema=binding.pg_schema,
        back=readiness.word if readiness and slot != "current" else "",
        note=", ".join(notes),
    )


def release_view(found: Recorded, binding: Binding, mlflow: str) -> ReleaseView:
    """Return what a release is; `mlflow` is the registry's address, or empty."""
    lock = found.locks[binding.digest]
    return ReleaseView(
        release=binding.release,
        digest=binding.digest,
        commit=lock.code.commit,
        ref=lock.code.ref,
        dirty=lock.code.dirty,
        pg_schema=binding.pg_schema,
        models=_models(lock, mlflow),
        tables=_tables(found, binding, lock),
    )


def _models(lock: Lock, mlflow: str) -> tuple[ModelRow, ...]:
    return tuple(
        ModelRow(
            key=key,
            name=model.name,
            version=model.version,
            digest=short_digest(model.digest),
            link=f"{mlflow}/#/models/{model.name}/versions/{model.version}" if mlflow else "",
        )
        for key, model in lock.models.items()
    )


def _tables(found: Recorded, binding: Binding, lock: Lock) -> tuple[TableRow, ...]:
    measured = found.sizes.get(binding.digest)
    sizes = {table.table: table for table in measured.tables} if measured else {}
    rows: list[TableRow] = []
    for name, spec in sorted(lock.tables.items()):
        known = sizes.get(name)
        shared = known.shared_with if known and spec.kind == "derived" else 0
        rows.append(
            TableRow(
                name=name,
                kind=spec.kind,
                rows=f"{known.rows:,}" if known and known.rows is not None else "",
                size=size(known.bytes) if known else "",
                fingerprint=binding.fingerprints.get(name, ""),
                note=(f"shared with {shared} more" if shared else "")
                if spec.kind == "derived"
                else spec.policy or "",
            )
        )
    return tuple(rows)
