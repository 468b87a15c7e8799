"""An environment to ask questions of, without a platform: files as `mlops up` writes them, and a ledger of any length.

What the questions are made of is real: Postgres, entries in a hash chain, bindings, locks, stack config, router files.
No service, no supervisor and no Prefect run. Tests use the same.
"""

import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.types.json import Jsonb
from pydantic import SecretStr

from mlops_sdk.ledger.bindings import schema_name
from mlops_sdk.ledger.entries import Entry
from mlops_sdk.release.digest import canonical_json, digest_of
from mlops_sdk.release.lock import Lock, LockedCode
from mlops_sdk.runtime.settings import EnvironmentSettings, OperatorSettings
from mlops_sdk.traffic.router_files import prepare_router

ENVIRONMENT = "local"
NOWHERE = "http://127.0.0.1:1"
_START = datetime(2026, 1, 1, tzinfo=UTC)
_KEPT = 3


@dataclass(frozen=True)
class Told:
    """What a cycle of the history writes: a kind, whether it names the release, and details."""

    kind: str
    of_release: bool
    details: dict[str, Any]


def write_project(root: Path, *, app: str, conninfo: SecretStr, master_key: SecretStr) -> str:
    """Write a project with a git history and an environment whose ledger `conninfo` (role sdk) reaches; the commit.

    Prefect and MLflow have addresses where nobody listens.
    """
    (root / "requirements").mkdir(parents=True)
    (root / "requirements" / "lock.txt").write_text("# nothing is locked\n", encoding="utf-8")
    (root / "pyproject.toml").write_text(
        f'[tool.mlops]\napp = "{app}"\nenvironments = ["{ENVIRONMENT}"]\n', encoding="utf-8"
    )
    (root / "stacks" / "releases").mkdir(parents=True)
    (root / "stacks" / f"Pulumi.{ENVIRONMENT}.yaml").write_text(
        "config:\n  mlops-sdk:kind: local\n", encoding="utf-8"
    )
    (root / ".gitignore").write_text(".mlops/\nstacks/Pulumi.*.yaml\n", encoding="utf-8")
    _git(root, "init", "--quiet")
    _git(root, "add", "--all")
    _git(root, "commit", "--quiet", "--message", "A project to ask about")
    folder = root / ".mlops" / ENVIRONMENT
    info = conninfo_to_dict(conninfo.get_secret_value())
    EnvironmentSettings(
        environment=ENVIRONMENT,
        kind="local",
        app=app,
        project_root=root,
        mlflow_tracking_uri=NOWHERE,
        prefect_api_url=f"{NOWHERE}/api",
        database_host=str(info["host"]),
        database_port=int(str(info["port"])),
        database_name=str(info["dbname"]),
        source_url=conninfo,
        router_url=NOWHERE,
        model_cache=root / ".mlops" / "models",
    ).write(folder / "env" / "environment.env")
    OperatorSettings(operator_url=conninfo, master_key=master_key, source_owner_url=conninfo).write(
        folder / "env" / "operator.env"
    )
    prepare_router(folder / "router", 1)
    return _git(root, "rev-parse", "HEAD")


def fill_ledger(conn: psycopg.Connection[Any], *, app: str, commit: str, entries: int = 10_000) -> list[Lock]:
    """Write a history of `entries` entries into an empty ledger; the locks of all releases, oldest first.

    A release was deployed every eight entries, with a shift; the last three are kept. `conn` is a superuser's. The
    schemas and services of the releases are not there.
    """
    count = entries // len(DEPLOY)
    locks = [_lock(app, commit, number) for number in range(1, count + 1)]
    written = list(deploys(locks, entries))
    with conn.transaction():
        _write_releases(conn, app, locks)
        write_entries(conn, written)
    conn.execute("ANALYZE mlops.entry, mlops.binding, mlops.lock")
    return locks


def write_entries(conn: psycopg.Connection[Any], entries: Sequence[Entry]) -> None:
    """Append entries of one environment, and let its pointer say what the last `live` one of them says.

    Postgres checks each as it checks those of a deploy. In the caller's transaction.
    """
    with conn.cursor().copy(
        "COPY mlops.entry (env, n, prev_hash, hash, at, kind, digest, epoch, body) FROM STDIN"
    ) as copy:
        for e in entries:
            copy.write_row((e.environment, e.n, e.prev_hash, e.hash, e.at, e.kind, e.digest, e.epoch, e.body))
    last = next(one for one in reversed(entries) if one.kind == "live")
    conn.execute(
        "UPDATE mlops.pointer SET digest = %s, epoch = %s, entry = %s WHERE env = %s",
        [last.digest, last.epoch, last.n, last.environment],
    )


DEPLOY = (
    Told("intent", of_release=False, details={"intent": "deploy"}),
    Told("bound", of_release=True, details={}),
    Told("verified", of_release=True, details={"checks": ["ready", "digest"]}),
    Told("shifted", of_release=True, details={"share": 13, "of": 256}),
    Told("shifted", of_release=True, details={"share": 128, "of": 256}),
    Told("live", of_release=True, details={}),
    Told("done", of_release=True, details={}),
    Told("note", of_release=False, details={}),
)


def deploys(
    locks: Sequence[Lock],
    entries: int,
    *,
    head: Entry | None = None,
    epoch: int = 0,
    apart: timedelta = timedelta(seconds=30),
) -> Iterator[Entry]:
    """So many entries after `head`: a deploy of each lock, then notes for what is left of the number. Pure.

    `epoch` is that of the pointer at `head`; each live entry has the next one.
    """
    previous = head
    for index in range(entries):
        number, step = divmod(index, len(DEPLOY))
        told, lock = DEPLOY[step], locks[min(number, len(locks) - 1)]
        if number >= len(locks):  # the rest of an uneven number
            told = DEPLOY[-1]
        previous = Entry(
            environment=previous.environment if previous else ENVIRONMENT,
            n=previous.n + 1 if previous else 1,
            prev_hash=previous.hash if previous else None,
            at=previous.at + apart if previous else _START,
            kind=told.kind,
            digest=lock.digest if told.of_release else None,
            epoch=epoch + number + 1 if told.kind == "live" else None,
            actor="ann",
            reason="the reason of a release, as a person writes it",
            cause="",
            details=told.details,
        )
        yield previous


def _lock(app: str, commit: str, number: int) -> Lock:
    code = LockedCode(ref="HEAD", commit=commit, tree=commit, dependencies=digest_of("none"))
    return Lock(schema=1, release=f"v0.0.{number}", app=app, code=code, manifest=digest_of(number))


def _write_releases(conn: psycopg.Connection[Any], app: str, locks: Sequence[Lock]) -> None:
    with conn.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO mlops.lock (digest, body) VALUES (%s, %s)",
            [(lock.digest, canonical_json(lock.document())) for lock in locks],
        )
        cursor.executemany(
            "INSERT INTO mlops.binding (env, digest, release, seq, pg_schema, role, service_port, fingerprints,"
            " watermarks, status) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            [
                (
                    ENVIRONMENT,
                    lock.digest,
                    lock.release,
                    seq,
                    name := schema_name(app, seq, lock.digest),
                    name,
                    1 + seq,
                    Jsonb({}),
                    Jsonb({}),
                    "cut" if seq > len(locks) - _KEPT else "retired",
                )
                for seq, lock in enumerate(locks, 1)
            ],
        )


def _git(root: Path, *arguments: str) -> str:
    who = ["-c", "user.name=A Person", "-c", "user.email=person@localhost"]
    done = subprocess.run(["git", *who, *arguments], cwd=root, check=True, capture_output=True, text=True)
    return done.stdout.strip()
