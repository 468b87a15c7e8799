"""Asks an environment's servers what the page shows. Reads only, and answers whatever is away.

What never changes is remembered, so that a page that is looked at every two seconds costs little. It must not decide
how anything is shown: `view` does.
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
from mlops_sdk.ledger.lease import Held, current
from mlops_sdk.ledger.store import read_pointer
from mlops_sdk.platform.supervisor import ProgramStatus, Supervisor
from mlops_sdk.release.binding import Binding
from mlops_sdk.release.lock import Lock
from mlops_sdk.release.project import Project
from mlops_sdk.rollout.bring_up import addresses
from mlops_sdk.rollout.session import Session, open_session
from mlops_sdk.rollout.verify.service import runs
from mlops_sdk.state.sizes import ReleaseSize, read_sizes
from mlops_sdk.traffic.port import Routes

_ENTRIES = 500
_FRESH_S = 1.0  # several windows of one page ask the servers once
_SIZES_FRESH_S = 60.0


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

    `live` is the entry that made what is live so; `back_to` the digest that a rollback goes to. `statuses`, `locks`
    and `running` (whose service answers and runs that digest) are by digest.
    """

    pointer: Pointer
    live: Entry | None
    hold: Hold | None
    held: Held | None
    bindings: tuple[Binding, ...]
    statuses: Mapping[str, str]
    locks: Mapping[str, Lock]
    entries: tuple[Entry, ...]
    back_to: str | None
    running: frozenset[str]
    sizes: Mapping[str, ReleaseSize]


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
        self._back_to: dict[str, tuple[int, str | None]] = {}
        self._sizes: dict[str, tuple[float, int, Mapping[str, ReleaseSize]]] = {}

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
            addresses=addresses(session),
            processes=processes,
            routes=routes,
            recorded=recorded,
        )

    def _recorded(self, session: Session) -> Recorded:
        ledger, environment = session.ledger, session.environment
        with ledger.connect() as conn:
            pointer = read_pointer(conn, environment)
            held = current(conn, environment)
            bindings = tuple(read_bindings(conn, environment, retired=True))
            locks = self._read_locks(conn, bindings)
        entries = tuple(ledger.entries(_ENTRIES))
        statuses = ledger.statuses()
        kept = [
            b for b in bindings if b.digest == pointer.digest or statuses.get(b.digest) in ("bound", "cut")
        ]
        return Recorded(
            pointer=pointer,
            live=ledger.resolve(Address(environment, Head())),
            hold=ledger.hold(),
            held=held,
            bindings=bindings,
            statuses=statuses,
            locks=locks,
            entries=entries,
            back_to=self._find_back_to(session, pointer, entries),
            running=frozenset(binding.digest for binding in kept if runs(binding)),
            sizes=self._read_sizes(session, entries[0].n if entries else 0),
        )

    def _read_locks(self, conn: Connection, bindings: tuple[Binding, ...]) -> Mapping[str, Lock]:
        for binding in bindings:
            if binding.digest not in self._locks:
                self._locks[binding.digest] = read_lock(conn, binding.digest)
        return dict(self._locks)

    def _find_back_to(self, session: Session, pointer: Pointer, entries: tuple[Entry, ...]) -> str | None:
        """The whole history is read for this: once for each newest entry."""
        head = entries[0].n if entries else 0
        known = self._back_to.get(session.environment)
        if known is None or known[0] != head:
            found = session.ledger.last_verified_before(pointer.digest) if pointer.digest else None
            known = self._back_to[session.environment] = (head, found)
        return known[1]

    def _read_sizes(self, session: Session, head: int) -> Mapping[str, ReleaseSize]:
        """Sizes change with every row: once a minute is enough, and after each entry."""
        known = self._sizes.get(session.environment)
        if known is None or known[1] != head or time.monotonic() - known[0] > _SIZES_FRESH_S:
            found, _ = read_sizes(session.operator.operator_url, session.environment)
            known = (time.monotonic(), head, {size.digest: size for size in found})
            self._sizes[session.environment] = known
        return known[2]
