"""Asks an environment's servers what the page shows. Reads only, and answers whatever is away.

What never changes is remembered, and what costs much for some seconds. It must not decide how anything is shown:
`view` does; nor what differs or is ready: `observed.drift` and `observed.readiness` do.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import psycopg

from mlops_sdk.errors import MlopsError, NotFoundError
from mlops_sdk.ledger.address import Address, Head
from mlops_sdk.ledger.bindings import read_bindings, read_lock
from mlops_sdk.ledger.database import Connection
from mlops_sdk.ledger.entries import Entry, Hold, Pointer
from mlops_sdk.ledger.events import read_events_since_live
from mlops_sdk.ledger.lease import Held, current
from mlops_sdk.ledger.pause import paused
from mlops_sdk.ledger.periods import read_blocked
from mlops_sdk.ledger.store import read_pointer
from mlops_sdk.platform.supervisor import ProgramStatus, Supervisor
from mlops_sdk.release.binding import Binding
from mlops_sdk.release.lock import Lock
from mlops_sdk.release.project import Project
from mlops_sdk.rollout.agent.page.remembered import Remembered
from mlops_sdk.rollout.environment.opening import open_session
from mlops_sdk.rollout.environment.session import Session
from mlops_sdk.rollout.observed.drift import Intended
from mlops_sdk.rollout.observed.drift import Seen as Observed
from mlops_sdk.rollout.observed.readiness import Readiness
from mlops_sdk.rollout.observed.readiness_facts import read_readiness
from mlops_sdk.rollout.observed.runtime import look, read_intended
from mlops_sdk.state.sizes import ReleaseSize, read_sizes
from mlops_sdk.traffic.port import Routes

_ENTRIES = 500
_FRESH_S = 1.0  # several windows of one page ask the servers once
_OBSERVED_FRESH_S = 5.0  # asks every service, Prefect and the supervisor
_READINESS_FRESH_S = 15.0  # logs in as every kept release
_SIZES_FRESH_S = 60.0  # change with every row


@dataclass(frozen=True)
class Problem:
    """Something that a person should mend: what, and how."""

    what: str
    remedy: str = ""

    @classmethod
    def of(cls, error: MlopsError) -> "Problem":
        """The problem that an error tells of."""
        return cls(f"{error.where}: {error.what}" if error.where else error.what, error.remedy)

    @classmethod
    def of_postgres(cls, error: psycopg.OperationalError, environment: str) -> "Problem":
        """The problem when Postgres goes away in the middle of an answer."""
        first = (str(error).splitlines() or [type(error).__name__])[0]
        return cls(f"Postgres went away: {first}", f"`mlops up {environment}` starts it")


@dataclass(frozen=True)
class Recorded:
    """What Postgres says. `entries` are newest first, and of a long history the newest ones; `bindings` oldest first.

    `live` is the entry that made what is live so; `back_to` the digest that a rollback goes to. `locks`, `readiness`
    (of kept releases that are not live), `blocked` (the reasons) and `sizes` are by digest; `paused` is a tag.
    `intended` and `observed` are the two sides of drift.
    """

    pointer: Pointer
    live: Entry | None
    hold: Hold | None
    held: Held | None
    bindings: tuple[Binding, ...]
    locks: Mapping[str, Lock]
    entries: tuple[Entry, ...]
    back_to: str | None
    intended: Intended
    observed: Observed
    readiness: Mapping[str, Readiness]
    blocked: Mapping[str, str]
    paused: str | None
    sizes: Mapping[str, ReleaseSize]

    @property
    def is_held(self) -> bool:
        """Whether somebody deploys."""
        return self.held is not None and self.held.in_force

    def answers(self, digest: str) -> bool:
        """Whether the release's own service answers, is ready and runs that digest."""
        service = self.observed.services.get(digest)
        return service is not None and service.ready and service.digest == digest


@dataclass(frozen=True)
class Seen:
    """One environment at one moment. `recorded` and `routes` are None where they could not be asked."""

    environment: str
    at: datetime
    is_up: bool = True  # whether `mlops up` has ever made it on this machine
    problems: tuple[Problem, ...] = ()
    addresses: Mapping[str, str] = field(default_factory=dict)
    processes: tuple[ProgramStatus, ...] = ()
    routes: Routes | None = None
    recorded: Recorded | None = None


class Looker:
    """Looks at the environments of a project on this machine; safe to be asked by several threads."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self._mutexes: dict[str, threading.Lock] = defaultdict(threading.Lock)
        self._seen: dict[str, tuple[float, Seen]] = {}
        self._locks: dict[str, Lock] = {}
        self._back_to = Remembered[str | None]()
        self._observed = Remembered[Observed](_OBSERVED_FRESH_S)
        self._readiness = Remembered[Mapping[str, Readiness]](_READINESS_FRESH_S)
        self._sizes = Remembered[Mapping[str, ReleaseSize]](_SIZES_FRESH_S)

    def look(self, environment: str) -> Seen:
        """What stands in an environment, at most a second ago. Raises NotFoundError for one the project lacks."""
        self.project.check_environment(environment)
        # One that does not answer keeps nobody from looking at another.
        with self._mutexes[environment]:
            known = self._seen.get(environment)
            if known is None or time.monotonic() - known[0] > _FRESH_S:
                known = (time.monotonic(), self._look(environment))
                self._seen[environment] = known
            return known[1]

    def _look(self, environment: str) -> Seen:
        now = datetime.now(UTC)
        try:
            with open_session(self.project, environment) as session:
                return self._ask(session, now)
        except NotFoundError as error:
            return Seen(environment, now, is_up=False, problems=(Problem(error.what, error.remedy),))
        except MlopsError as error:
            return Seen(environment, now, problems=(Problem.of(error),))

    def _ask(self, session: Session, now: datetime) -> Seen:
        problems: list[Problem] = []
        processes: tuple[ProgramStatus, ...] = ()
        routes: Routes | None = None
        recorded: Recorded | None = None
        # Each for itself: what one of them cannot say is no reason not to show the others.
        try:
            recorded = self._recorded(session)
        except MlopsError as error:
            problems.append(Problem.of(error))
        except psycopg.OperationalError as error:
            problems.append(Problem.of_postgres(error, session.environment))
        try:
            processes = tuple(Supervisor(session.folder).statuses().values())
        except MlopsError as error:
            problems.append(Problem.of(error))
        try:
            routes = session.traffic.read()
        except MlopsError as error:
            problems.append(Problem.of(error))
        return Seen(
            environment=session.environment,
            at=now,
            problems=tuple(problems),
            addresses=session.addresses(),
            processes=processes,
            routes=routes,
            recorded=recorded,
        )

    def _recorded(self, session: Session) -> Recorded:
        ledger, environment = session.ledger, session.environment
        with ledger.connect() as conn:
            pointer = read_pointer(conn, environment)
            bindings = tuple(read_bindings(conn, environment, retired=True))
            locks = self._read_locks(conn, bindings)
            intended = read_intended(conn, session, locks)
            entries = tuple(ledger.entries(_ENTRIES))
            head = entries[0].n if entries else 0
            back_to = self._back_to.get(environment, head, lambda: _back_to(session, pointer))
            others = {one.digest for one in intended.releases} | ({back_to} if back_to else set())
            return Recorded(
                pointer=pointer,
                live=ledger.resolve(Address(environment, Head())),
                hold=ledger.hold(),
                held=current(conn, environment),
                bindings=bindings,
                locks=locks,
                entries=entries,
                back_to=back_to,
                intended=intended,
                observed=self._observed.get(environment, head, lambda: look(session, intended)),
                readiness=self._readiness.get(
                    environment, head, lambda: read_readiness(conn, session, others - {pointer.digest})
                ),
                blocked=read_blocked(conn, environment, locks),
                paused=paused(read_events_since_live(conn, environment)),
                sizes=self._sizes.get(environment, head, lambda: _sizes(session)),
            )

    def _read_locks(self, conn: Connection, bindings: tuple[Binding, ...]) -> Mapping[str, Lock]:
        for binding in bindings:
            if binding.digest not in self._locks:
                self._locks[binding.digest] = read_lock(conn, binding.digest)
        return {binding.digest: self._locks[binding.digest] for binding in bindings}


def _back_to(session: Session, pointer: Pointer) -> str | None:
    """The whole history is read for this."""
    return session.ledger.last_verified_before(pointer.digest) if pointer.digest else None


def _sizes(session: Session) -> Mapping[str, ReleaseSize]:
    found, _ = read_sizes(session.operator.operator_url, session.environment)
    return {size.digest: size for size in found}
