"""What was seen when a gate failed, kept before anything is turned back: a folder of plain files.

The folder is the environment's own, `evidence/ENTRY-TAG`, readable by its owner alone: services write what they
like into their logs. A part that cannot be had is named in the folder, and keeps nobody from turning back.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psycopg

from mlops_sdk.cluster.pods import reasons
from mlops_sdk.errors import MlopsError
from mlops_sdk.platform.programs import service_name
from mlops_sdk.platform.reach import DIGEST_LABEL
from mlops_sdk.release.binding import Binding
from mlops_sdk.release.digest import short
from mlops_sdk.rollout.environment.session import Session
from mlops_sdk.rollout.verify.checks import Check
from mlops_sdk.rollout.verify.service import scrape

_LOG_BYTES = 256 * 1024
_ENTRIES = 50


def keep_evidence(session: Session, release: Binding, checks: Iterable[Check], why: str) -> Path:
    """Write checks, metrics and ends of logs of the release and the live one, routes and ledger; the folder."""
    folder = _folder(session, release)
    live = _live(session)
    services = {b.release: b for b in (release, live) if b is not None}
    parts: Mapping[str, Callable[[], str]] = {
        "checks.json": lambda: _json({"why": why, "checks": [check.document() for check in checks]}),
        "routes.json": lambda: _json(asdict(session.traffic.read())),
        "entries.json": lambda: _json(_entries(session)),
        **{f"metrics-{tag}.txt": _metrics(binding) for tag, binding in services.items()},
        **{f"service-{tag}.log": _log(session, binding) for tag, binding in services.items()},
    }
    missing = [line for name, part in parts.items() if (line := _keep(folder / name, part))]
    if missing:
        _write(folder / "missing.txt", "\n".join(missing) + "\n")
    return folder


def _folder(session: Session, release: Binding) -> Path:
    try:
        head = session.ledger.head()
        number = f"{head.n:06d}" if head else "000000"
    except (MlopsError, psycopg.Error):
        number = "unknown"
    root = session.folder / "evidence"
    root.mkdir(mode=0o700, exist_ok=True)
    folder = root / f"{number}-{release.release}"
    folder.mkdir(mode=0o700, exist_ok=True)  # the same failure of a command that was run again
    return folder


def _live(session: Session) -> Binding | None:
    try:
        digest = session.ledger.pointer().digest
        return session.ledger.binding(digest) if digest else None
    except (MlopsError, psycopg.Error):
        return None


def _keep(path: Path, part: Callable[[], str]) -> str:
    """Write one part; or return a line that says why it is not there."""
    try:
        _write(path, part())
    except (MlopsError, psycopg.Error, OSError) as error:
        what = error.what if isinstance(error, MlopsError) else type(error).__name__
        return f"{path.name}: {what}"
    return ""


def _write(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")


def _entries(session: Session) -> list[dict[str, Any]]:
    return [json.loads(entry.body) for entry in session.ledger.entries(_ENTRIES)]


def _metrics(binding: Binding) -> Callable[[], str]:
    return lambda: scrape(binding)[1]


def _log(session: Session, binding: Binding) -> Callable[[], str]:
    if session.reach is not None:
        api = session.reach.api
        return lambda: "\n".join(reasons(api, {DIGEST_LABEL: short(binding.digest)}))

    def read() -> str:
        path = session.folder / "logs" / f"{service_name(binding.digest)}.log"
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _LOG_BYTES))
            return file.read().decode("utf-8", errors="replace")

    return read


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
