"""A real environment with small releases, and the situation that each command of the matrix needs.

One platform serves all points: a deploy makes the next release live, a rollback goes back from it. Before a first
deploy the environment is put back to what it was after `mlops up`: database, stack, router and services.
"""

import json
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, LiteralString

import httpx
import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pydantic import SecretStr

from mlops_sdk.ledger.store import Ledger
from mlops_sdk.platform.supervisor import Supervisor
from mlops_sdk.release.project import load_project
from mlops_sdk.runtime import env_file
from mlops_sdk.stack.drive import Stack
from mlops_sdk.traffic.caddy import CURRENT_FILE, KEYLESS_FILE, NEXT_FILE, SHARE_FILE
from tests.support.clone import Clone, await_true
from tests.support.matrix.points import Operation

TINY = Path(__file__).parents[1] / "tiny"
LEASE_S = 2
# The environment whose releases are promoted to `local`; only points of `promote` need it.
SOURCE = "rehearsal"
_STATES = ("pipelines.tiny.tables:STATE", "pipelines.tiny.derived:STATE")
# A digest of an env file has its port in it, and is compared by what it is a digest of.
_HIDDEN = {"seq": "a number", "triggers": "digests"}
_FRESH = "kill_matrix_fresh"
_STATE = "pulumi/state"
_SLOTS = (CURRENT_FILE, NEXT_FILE, SHARE_FILE, KEYLESS_FILE)


@dataclass
class Counts:
    """What was accepted by name; each must be there in whatever release is live."""

    accepted: dict[str, int] = field(default_factory=dict)
    own: str = field(
        default_factory=lambda: secrets.token_hex(4)
    )  # an environment may have been counted in before

    def add(self, http: httpx.Client, name: str) -> None:
        """Count once; a refusal is no acceptance, and fails the test."""
        name = f"{self.own} {name}"
        answer = http.post("/count", params={"name": name})
        assert answer.status_code == 201, answer.text
        self.accepted[name] = self.accepted.get(name, 0) + 1

    def check(self, http: httpx.Client) -> None:
        """Every acceptance is there, once."""
        for name, count in self.accepted.items():
            assert http.get("/count", params={"name": name}).json() == {"n": count}, name


@contextmanager
def short_lease(clone: Clone, seconds: float = LEASE_S) -> Iterator[None]:
    """The clone's deployers hold the lease for so long only. Committed, as a project has it."""
    path = clone.root / "pyproject.toml"
    before = path.read_text()
    assert "lease_s" not in before
    path.write_text(before.replace("[tool.mlops]\n", f"[tool.mlops]\nlease_s = {seconds}\n"))
    clone.git("commit", "--quiet", "-m", "A short lease", "pyproject.toml")
    try:
        yield
    finally:
        path.write_text(before)
        clone.git("commit", "--quiet", "-m", "The lease as it was", "pyproject.toml")


@dataclass
class Tiny:
    """A clone whose environment `local` has releases of `pipelines.tiny`, with derived tables.

    Its releases are called v0.0.N from `first` on: files that share a clone have different ones.
    """

    clone: Clone
    first: int
    counts: Counts = field(default_factory=Counts)
    _number: int = 0
    _last: Operation | None = None
    _built: bool = False  # whether the release before has the derived tables
    _saved: Path | None = None

    @classmethod
    def install(cls, clone: Clone, first: int) -> "Tiny":
        """Commit the package of the releases into the clone."""
        target = clone.root / "pipelines" / "tiny"
        shutil.copytree(TINY, target, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
        clone.git("add", "pipelines/tiny")
        clone.git("commit", "--quiet", "--allow-empty", "-m", "A small release", "pipelines/tiny")
        return cls(clone, first)

    @property
    def ledger(self) -> Ledger:
        """The environment's ledger."""
        return Ledger(SecretStr(self.clone.variables()["MLOPS_OPERATOR_URL"]), "local")

    @property
    def stack(self) -> Stack:
        """The environment's stack."""
        return Stack(load_project(self.clone.root), "local")

    def manifest(self, *, shift: bool = True, derived: bool = True) -> str:
        """Write the manifest of a release that there was not yet; its path."""
        self._number += 1
        return self.write_manifest(f"v0.0.{self.first + self._number}", shift=shift, derived=derived)

    def write_manifest(self, release: str, *, shift: bool = True, derived: bool = True) -> str:
        """Write a manifest; its path."""
        path = f"stacks/releases/{release}.yaml"
        (self.clone.root / path).write_text(
            f"schema: 1\nrelease: {release}\ncode: {{ref: HEAD}}\n"
            f"state: pipelines.tiny.{'derived' if derived else 'tables'}:STATE\n"
            "service: pipelines.tiny.service:create_app\n"
            f"parameters: {{note: {release}, salt: {release}}}\n"
            + ("shift: {steps: [50], each: {seconds: 1}}\n" if shift else "")
        )
        return path

    def prepare(self, operation: Operation, *, derived: bool = False) -> list[str]:
        """Bring the environment into the situation of the command; the command.

        With `derived` the release has tables that are built, one of them built before; that takes its time.
        """
        if operation == "first deploy":
            self.reset()
            self._built = False
            # A tag of its own for each manifest, for the lock of an earlier one is still there.
            tag = f"v0.0.{self.first - derived}"
            command = ["deploy", self.write_manifest(tag, derived=derived)]
        elif operation == "deploy":
            self._have_three()
            if derived and not self._built:
                self.clone.run("deploy", self.manifest(shift=False))
            self._built = derived
            command = ["deploy", self.manifest(derived=derived)]
        elif operation == "promote":
            self._have_three()
            if derived and not self._built:
                self.clone.run("deploy", self.manifest(shift=False))
            self._built = derived
            self.clone.run("deploy", self.manifest(derived=derived), "-e", SOURCE)
            command = ["promote", SOURCE, "local"]
        else:
            if self._last not in ("deploy", "promote"):
                self.clone.run(*self.prepare("deploy"))
            command = ["rollback", "local", "-m", "the matrix"]
        self._last = operation
        return command

    def kept(self) -> list[str]:
        """Manifests of the releases that stand complete, the newest first."""
        found = self.clone.json("status", "local")["releases"]
        return [f"stacks/releases/{r['release']}.yaml" for r in found if r["slot"] in ("current", "kept")]

    def count(self, name: str) -> None:
        """Have something accepted, where anything is live."""
        if self.ledger.pointer().digest is not None:
            with self.clone.client() as http:
                self.counts.add(http, name)

    def _have_three(self) -> None:
        """Three releases are kept, the last one live, no hold: the next one lets the oldest fall out."""
        if self._last == "rollback":
            self.clone.run("resume", "local")
        for _ in range(len(self.kept()), 3):
            self.clone.run("deploy", self.manifest(shift=False, derived=False))

    # What is compared and what must hold

    def desired(self) -> Any:
        """What stack config and Pulumi's state want of releases, with names in place of what differs by release."""
        config = self.stack.config.read()["config"]
        exported = self.stack.export()["deployment"]
        assert not exported.get("pending_operations"), exported["pending_operations"]
        resources = {
            each["urn"].partition("::")[2]: each.get("inputs", {})
            for each in exported["resources"]
            if "release-" in each["urn"] or "service-" in each["urn"] or each["urn"].endswith("::live")
        }
        wanted = {
            "live": config["mlops-sdk:live"],
            "releases": config["mlops-sdk:releases"],
            "resources": resources,
        }
        held = {each["digest"] for each in config["mlops-sdk:releases"].values()}
        return _named(json.loads(json.dumps(wanted, default=dict)), self._names(held, wanted["live"]))

    def _names(self, held: set[str], live: str) -> list[tuple[re.Pattern[str], str]]:
        """What a release is called by, and a name by its place: the live one first, then the newest; longest first."""
        found: list[tuple[str, str]] = []
        kept = sorted(
            (b for b in self.ledger.bindings() if b.digest in held), key=lambda b: (b.digest != live, -b.seq)
        )
        for place, binding in enumerate(kept):
            commit = self.ledger.lock(binding.digest).code.commit
            found += [
                (commit, "a commit"),
                (commit[:12], "a commit"),
                (binding.digest, f"digest {place}"),
                (binding.digest.partition(":")[2][:12], f"digest {place}"),
                (binding.pg_schema, f"schema {place}"),
                (binding.release, f"tag {place}"),
                (str(binding.service_port), f"port {place}"),
            ]
        longest_first = sorted(found, key=lambda pair: -len(pair[0]))
        return [
            (re.compile(rf"(?<![0-9a-f]){re.escape(word)}(?![0-9a-f])"), name) for word, name in longest_first
        ]

    def check(self, live: str) -> None:
        """One release is live, nothing is pending or left behind, all is as the ledger says, nothing is lost."""
        await_true("no engine is left", lambda: self.clone.engines() == [])
        faults = [check for check in self.clone.json("doctor", "local") if not check["ok"]]
        assert faults == [], faults
        assert self.clone.json("lease", "show", "local") is None
        assert self.ledger.verify() > 0
        digest = self.ledger.pointer().digest
        assert [b.release for b in self.ledger.bindings() if b.digest == digest] == [live]
        with self.clone.client() as http:
            assert http.get("/count", params={"name": "none"}).headers["X-MLOps-Release"] == live
            self.counts.check(http)

    # Back to before the first release

    def save_fresh(self) -> None:
        """Remember the environment as `mlops up` made it."""
        self._saved = self.clone.root.parent / "fresh"
        shutil.copytree(self.clone.folder / _STATE, self._saved / _STATE)
        for name in _SLOTS:
            shutil.copy2(self.clone.folder / "router" / name, self._saved)
        shutil.copy2(self.clone.root / "stacks" / "Pulumi.local.yaml", self._saved)
        self._copy_database(self._database, _FRESH)

    def reset(self) -> None:
        """Put the environment back to what it was when it was saved."""
        assert self._saved is not None, "save_fresh comes first"
        supervisor = Supervisor(self.clone.folder)
        for name in [name for name in supervisor.statuses() if name.startswith("service-")]:
            supervisor.remove(name)
        self._copy_database(_FRESH, self._database)
        shutil.rmtree(self.clone.folder / _STATE)
        shutil.copytree(self._saved / _STATE, self.clone.folder / _STATE)
        for name in _SLOTS:
            shutil.copy2(self._saved / name, self.clone.folder / "router" / name)
        for path in (self.clone.folder / "env").glob("release-*.env"):
            path.unlink()
        shutil.copy2(self._saved / "Pulumi.local.yaml", self.clone.root / "stacks" / "Pulumi.local.yaml")
        self.counts = Counts()

    @property
    def _database(self) -> str:
        return str(conninfo_to_dict(self.clone.variables()["MLOPS_OPERATOR_URL"])["dbname"])

    def superuser(self, database: str) -> str:
        """A connection string of the environment's server as its superuser."""
        operator = conninfo_to_dict(self.clone.variables()["MLOPS_OPERATOR_URL"])
        password = env_file.read(self.clone.folder / "env" / "postgres.env")["MLOPS_POSTGRES_PASSWORD"]
        return make_conninfo(**{**operator, "user": "postgres", "password": password, "dbname": database})

    def _copy_database(self, source: str, target: str) -> None:
        """Make `target` a copy of `source`; whoever is connected to either is sent away, and may not come back yet."""
        with psycopg.connect(self.superuser("postgres"), autocommit=True) as conn:
            owner = conn.execute(
                "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = %s", [source]
            ).fetchone()
            assert owner is not None
            words = {"source": source, "target": target, "owner": owner[0]}
            names = {word: sql.Identifier(name) for word, name in words.items()}

            def run(text: LiteralString) -> None:
                conn.execute(sql.SQL(text).format(**names))

            run("DROP DATABASE IF EXISTS {target} WITH (FORCE)")
            run("ALTER DATABASE {source} WITH ALLOW_CONNECTIONS false")
            try:
                conn.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [source]
                )
                run("CREATE DATABASE {target} TEMPLATE {source} OWNER {owner} STRATEGY file_copy")
            finally:
                run("ALTER DATABASE {source} WITH ALLOW_CONNECTIONS true")
            # What a copy has not: grants on the database, and its settings for roles.
            conn.execute(_COPY_GRANTS, {"source": source, "target": target})
            conn.execute(_COPY_SETTINGS, {"source": source, "target": target})


_COPY_GRANTS = """
UPDATE pg_database SET datacl = (SELECT datacl FROM pg_database WHERE datname = %(source)s)
 WHERE datname = %(target)s
"""
_COPY_SETTINGS = """
INSERT INTO pg_db_role_setting
SELECT target.oid, setrole, setconfig FROM pg_db_role_setting
  JOIN pg_database source ON setdatabase = source.oid AND source.datname = %(source)s
 CROSS JOIN (SELECT oid FROM pg_database WHERE datname = %(target)s) target
"""


def _named(value: Any, names: list[tuple[re.Pattern[str], str]]) -> Any:
    """The value with names in place of what differs by release. That there is a secret is all that can be compared."""
    if isinstance(value, dict):
        if "ciphertext" in value:
            return "a secret"
        return {
            _named(key, names): _HIDDEN[key] if key in _HIDDEN else _named(each, names)
            for key, each in value.items()
        }
    if isinstance(value, list):
        return [_named(each, names) for each in value]
    if isinstance(value, bool) or value is None:
        return value
    if value in _STATES:
        return "a state"
    text = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
    for pattern, name in names:
        text = pattern.sub(name, text)
    return text
