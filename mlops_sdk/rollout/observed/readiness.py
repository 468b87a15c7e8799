"""Whether a release could be made live again now: judged from facts. Pure.

`readiness_facts` gathers them; `history`, `rollback` and the agent's page show the judgement. What is only slow is
no reason to refuse: a rollback does it first, and says so. It must not read a file, a clock or a server.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from mlops_sdk.release.versioned_data import DataFacts


@dataclass(frozen=True)
class ModelFacts:
    """A locked model: whether its artifact is in this machine's cache with the locked digest.

    Where it is not: `problem` says why the registry cannot give it either, empty where it can.
    """

    key: str
    name: str
    version: int
    cached: bool
    problem: str = ""


@dataclass(frozen=True)
class ReleaseFacts:
    """A release of an environment, as far as making it live needs it.

    `status` is that of its binding. `blocked` is the reason of a block, None without one. `in_schema` says whether
    pg_schema, role and all its tables are there; `missing_forks` and `stale_forks` are names of forked tables.
    `code` says why the commit with its lock of dependencies cannot be had, empty where it is here; `has_packages`:
    the environment of that lock is made.
    `service` of a release without one is `none`. `secrets` says what is wrong with its variables or its role's
    password, and is empty when nothing is.
    """

    environment: str
    release: str
    digest: str
    status: Literal["bound", "cut", "unreferenced", "retired"]
    blocked: str | None = None
    in_schema: bool = True
    missing_forks: tuple[str, ...] = ()
    stale_forks: tuple[str, ...] = ()
    code: str = ""
    has_packages: bool = True
    service: Literal["none", "running", "down"] = "running"
    models: tuple[ModelFacts, ...] = ()
    data: tuple[DataFacts, ...] = ()
    secrets: str = ""


@dataclass(frozen=True)
class Reason:
    """Why a release is not ready, and what a person does about it."""

    what: str
    remedy: str


@dataclass(frozen=True)
class Readiness:
    """`missing` keeps the release from becoming live; `first` is what would be done before, and takes its time."""

    release: str
    digest: str
    missing: tuple[Reason, ...]
    first: tuple[str, ...]

    @property
    def ready(self) -> bool:
        """Whether nothing is missing."""
        return not self.missing

    @property
    def word(self) -> str:
        """Return `yes`, `slowly` or `no`."""
        return "no" if self.missing else "slowly" if self.first else "yes"

    def document(self) -> dict[str, Any]:
        """Return JSON data for `-o json`."""
        return {
            "ready": self.ready,
            "missing": [{"what": reason.what, "remedy": reason.remedy} for reason in self.missing],
            "first": list(self.first),
        }


def judge(facts: ReleaseFacts) -> Readiness:
    """Return whether the release could be made live now, with every reason why not."""
    return Readiness(facts.release, facts.digest, tuple(_missing(facts)), tuple(_first(facts)))


def _missing(facts: ReleaseFacts) -> Iterator[Reason]:
    again = f"`mlops deploy stacks/releases/{facts.release}.yaml -e {facts.environment}` makes them again"
    up = f"`mlops up {facts.environment}`"
    if facts.blocked is not None:
        yield Reason(
            f"it is blocked: {facts.blocked}",
            f"`mlops unblock {facts.release} -e {facts.environment}`, if that is over",
        )
    if facts.status == "retired":
        yield Reason("it is retired: its tables were dropped", again)
        return  # all else went with them
    if not facts.in_schema:
        yield Reason("its pg_schema, its role or a table in it is not there", again)
    for table in facts.missing_forks:
        yield Reason(f"forked table {table} is not there", again)
    if facts.code:
        yield Reason(facts.code, "`git fetch --all --tags` brings commits that others made")
    for model in facts.models:
        if not model.cached and model.problem:
            yield Reason(
                f"model {model.key} ({model.name} {model.version}) is not in the cache, and {model.problem}",
                "bring that version back to the registry: a release's models never change",
            )
    for data in facts.data:
        if not data.here and data.problem:
            yield Reason(
                f"data {data.path} is not in the release's checkout, and {data.problem}",
                f"`mlops data push {data.path}` where that version is, or bring the remote back",
            )
    if facts.in_schema and facts.secrets:  # else the role's absence is what is wrong with them
        yield Reason(facts.secrets, f"{up} writes variables and passwords anew")


def _first(facts: ReleaseFacts) -> Iterator[str]:
    if facts.status == "retired":
        return
    for table in facts.stale_forks:
        yield f"forked table {table} is copied anew: it fell behind"
    if not facts.code and not facts.has_packages:
        yield "its dependency environment is made"
    for model in facts.models:
        if not model.cached and not model.problem:
            yield f"model {model.key} is downloaded"
    for data in facts.data:
        if not data.here and not data.problem:
            yield f"data {data.path} is pulled"
    if facts.service == "down":
        yield "its service is started"
