"""One history: writers, a duty that follows, and releases that are forked and made live by chance.

At its end every kept release must hold exactly what was acknowledged.
"""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
from pydantic import SecretStr

from mlops_sdk.errors import MlopsError
from mlops_sdk.ledger.database import connect
from mlops_sdk.state import carry
from mlops_sdk.state.follow import follow_once
from tests.support.history.rows import Account, Lost, differences
from tests.support.history.tables import CREATE_HOT, HOT, state
from tests.support.history.writer import Writer
from tests.support.releases import Releases

WRITERS = 8
REPEATABLE_READ = 3  # of them
FIRST_RELEASES = 3
MOST_RELEASES = 6
_LIVENESS_S = 20.0
_FOLLOW_EVERY_S = 1.0


@dataclass
class Counts:
    """What a history did."""

    seed: int
    seconds: float = 0.0
    actions: Counter[str] = field(default_factory=Counter)
    operations: Counter[str] = field(default_factory=Counter)
    read_committed_refusals: Counter[str] = field(default_factory=Counter)
    repeatable_read_refusals: Counter[str] = field(default_factory=Counter)
    slowest_handover_s: float = 0.0

    @property
    def acknowledged(self) -> int:
        """Operations that a release accepted."""
        return self.operations.total()


@dataclass
class History:
    """A history of `seconds` on an environment with nothing in it."""

    releases: Releases
    seed: int
    seconds: float
    report: Callable[[str], None] = lambda _: None

    def __post_init__(self) -> None:
        self._chance = random.Random(f"{self.seed} releases")
        self.counts = Counts(self.seed)
        self._kept: list[str] = []

    def run(self) -> Counts:
        """Raise Lost when anything acknowledged is missing, and whatever a writer was told but a refusal."""
        for number in range(1, MOST_RELEASES + 1):
            self.releases.lock(f"v0.0.{number}", state(), service=f"a.b:s{number}")
        self.releases.deploy("v0.0.1")
        self._kept = ["v0.0.1"]
        with self.releases.connect("v0.0.1") as conn:
            conn.execute(CREATE_HOT.encode())
        began = time.monotonic()
        with self._writers() as writers, self._following():
            while len(self._kept) < FIRST_RELEASES:
                self._prepare_next()
            while time.monotonic() < began + self.seconds:
                self._act()
                self._require_progress(writers)
        self.counts.seconds = round(time.monotonic() - began, 1)
        self._count(writers)
        self._compare(writers)
        return self.counts

    # --- what happens to releases

    def _act(self) -> None:
        if len(self._kept) < MOST_RELEASES and self._chance.random() < 0.15:
            self._prepare_next()
        live = self._live()
        target = self._chance.choice([tag for tag in self._kept if tag != live])
        back = self._kept.index(target) < self._kept.index(live)
        began = time.monotonic()
        self.releases.make_live(target, rollback_of=self.releases.locks[live].digest if back else None)
        self.counts.slowest_handover_s = max(self.counts.slowest_handover_s, time.monotonic() - began)
        self.counts.actions["rollback" if back else "cutover"] += 1
        self.report(f"{live} -> {target}")

    def _prepare_next(self) -> None:
        tag = f"v0.0.{len(self._kept) + 1}"
        self.releases.prepare(tag)
        self._kept.append(tag)
        self.counts.actions["fork"] += 1

    def _live(self) -> str:
        digest = self.releases.environment.ledger.pointer().digest
        return next(tag for tag, lock in self.releases.locks.items() if lock.digest == digest)

    # --- who works meanwhile

    @contextmanager
    def _writers(self) -> Iterator[list[Writer]]:
        stop = threading.Event()
        writers = [
            Writer(
                self.releases,
                self._kept,
                n,
                self.seed,
                stop,
                repeatable_read=n >= WRITERS - REPEATABLE_READ,
            )
            for n in range(WRITERS)
        ]
        for writer in writers:
            writer.start()
        try:
            yield writers
        finally:
            stop.set()
            for writer in writers:
                writer.join(30)
        for writer in writers:
            if writer.failure is not None:
                raise writer.failure

    @contextmanager
    def _following(self) -> Iterator[None]:
        stop = threading.Event()
        thread = threading.Thread(
            target=_follow, args=(self.releases.conninfo, "local", stop), name="follow", daemon=True
        )
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(30)

    def _require_progress(self, writers: list[Writer]) -> None:
        """Each writer that lives is soon accepted again."""
        before = [writer.count for writer in writers]
        deadline = time.monotonic() + _LIVENESS_S
        while any(w.count < n + 2 and w.is_alive() for w, n in zip(writers, before, strict=True)):
            assert time.monotonic() < deadline, f"writers wait for more than {_LIVENESS_S} s: {before}"
            time.sleep(0.01)
        for writer in writers:
            if writer.failure is not None:
                raise writer.failure

    # --- what must be there

    def _count(self, writers: list[Writer]) -> None:
        for writer in writers:
            self.counts.operations += writer.acknowledged
            if writer.repeatable_read:
                self.counts.repeatable_read_refusals += writer.refusals
            else:
                self.counts.read_committed_refusals += writer.refusals

    def _compare(self, writers: list[Writer]) -> None:
        added: Counter[int] = Counter()
        wanted: dict[str, dict[object, object]] = {"accounts": {}, "items": {}}
        for writer in writers:
            added += writer.rows.added
            wanted["accounts"].update(writer.rows.accounts)
            wanted["items"].update(writer.rows.items)
        wanted["accounts"].update({key: Account(-key, added[key], 0) for key in range(HOT)})
        for tag in [self._live(), *self._kept]:
            if tag != self._live():
                carry.catch_up(self.releases.conninfo, "local", self.releases.locks[tag].digest, small=1)
            found = differences(self._stored(tag), wanted)
            if found:
                raise Lost(f"seed {self.seed}, release {tag}, {len(found)} rows: " + "; ".join(found[:5]))

    def _stored(self, tag: str) -> dict[str, dict[Any, object]]:
        with self.releases.connect(tag) as conn:
            accounts = conn.execute("SELECT account_id, slot, n, version FROM accounts").fetchall()
            items = conn.execute("SELECT account_id, item_no, n FROM items").fetchall()
        return {
            "accounts": {row[0]: Account(*row[1:]) for row in accounts},
            "items": {(row[0], row[1]): row[2] for row in items},
        }


def _follow(conninfo: SecretStr, environment: str, stop: threading.Event) -> None:
    """What the agent's duty `catch-up` does, for as long as the history lasts."""
    while not stop.is_set():
        try:
            with connect(conninfo, f"mlops follow {environment}") as conn:
                while not stop.is_set():
                    waiting = follow_once(conn, environment)
                    stop.wait(0 if any(waiting.values()) else _FOLLOW_EVERY_S)
        except (MlopsError, psycopg.Error):
            stop.wait(_FOLLOW_EVERY_S)  # a failing duty comes again
