"""No accepted write is lost while releases change hands under writers that do not stop."""

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest

from mlops_sdk.state import Forked, State
from tests.support.environment import Environment
from tests.support.releases import Releases
from tests.support.tables import metadata, users

KEYS = 12
WRITERS = 4
REFUSED = "42501"
# What a REPEATABLE READ writer may be told besides, and then repeats.
SERIALIZATION = "40001"


@dataclass
class Writer(threading.Thread):
    """Adds 1 to rows of the live release; after a refusal it asks again which one that is."""

    releases: Releases
    number: int
    stop: threading.Event
    tags: dict[str, str]
    repeatable_read: bool = False
    acknowledged: Counter[int] = field(default_factory=Counter)
    gone: set[int] = field(default_factory=set)
    refusals: Counter[str] = field(default_factory=Counter)
    failure: BaseException | None = None

    def __post_init__(self) -> None:
        super().__init__(name=f"writer-{self.number}", daemon=True)
        self.chance = random.Random(self.number)
        self.fresh = 1_000_000 * (self.number + 1)

    def __hash__(self) -> int:
        return id(self)

    def run(self) -> None:
        try:
            while not self.stop.is_set():
                with self.releases.connect(self.live()) as conn:
                    if self.repeatable_read:
                        conn.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
                    self.write_until_refused(conn)
        except BaseException as error:  # noqa: BLE001 - shown by the test, in its own thread
            self.failure = error

    def live(self) -> str:
        digest = self.releases.environment.ledger.pointer().digest
        assert digest is not None
        return self.tags[digest]

    def write_until_refused(self, conn: psycopg.Connection[Any]) -> None:
        while not self.stop.is_set():
            try:
                self.write(conn)
            except psycopg.Error as error:
                self.refusals[error.sqlstate or "none"] += 1
                if error.sqlstate == REFUSED:
                    return
                if error.sqlstate != SERIALIZATION:
                    raise

    def write(self, conn: psycopg.Connection[Any]) -> None:
        kind = self.chance.random()
        if kind < 0.7:
            key = self.chance.randrange(KEYS)
            conn.execute("UPDATE users SET count = count + 1 WHERE user_id = %s", [key])
            self.acknowledged[key] += 1
        elif kind < 0.85:  # several statements, in the order of keys
            keys = sorted(self.chance.sample(range(KEYS), 3))
            with conn.transaction():
                for key in keys:
                    conn.execute("UPDATE users SET count = count + 1 WHERE user_id = %s", [key])
            self.acknowledged.update(keys)
        elif kind < 0.95 or not self.fresh % 1_000_000:
            conn.execute("INSERT INTO users (user_id, count) VALUES (%s, 1)", [self.fresh])
            self.acknowledged[self.fresh] += 1
            self.fresh += 1
        else:
            key = self.fresh - 1
            conn.execute("DELETE FROM users WHERE user_id = %s", [key])
            self.gone.add(key)
            self.acknowledged.pop(key, None)


@contextmanager
def writers(releases: Releases) -> Iterator[list[Writer]]:
    stop = threading.Event()
    tags = {lock.digest: tag for tag, lock in releases.locks.items()}
    started = [Writer(releases, n, stop, tags, repeatable_read=n == WRITERS - 1) for n in range(WRITERS)]
    for writer in started:
        writer.start()
    try:
        yield started
    finally:
        stop.set()
        for writer in started:
            writer.join(30)


@pytest.fixture
def releases(environment: Environment, tmp_path: Path) -> Releases:
    found = Releases(environment, tmp_path)
    for tag in ("v0.0.1", "v0.0.2", "v0.0.3"):
        found.lock(tag, State(Forked(users(metadata()))), service=f"a.b:s{tag[-1]}")
    found.deploy("v0.0.1")
    with found.connect("v0.0.1") as conn:
        conn.execute("INSERT INTO users (user_id) SELECT generate_series(0, %s)", [KEYS - 1])
    return found


def written(started: list[Writer]) -> Counter[int]:
    total: Counter[int] = Counter()
    for writer in started:
        if writer.failure is not None:
            raise writer.failure
        total += writer.acknowledged
    return total


def stored(releases: Releases, tag: str) -> Counter[int]:
    with releases.connect(tag) as conn:
        return +Counter(dict(conn.execute("SELECT user_id, count FROM users").fetchall()))


def test_every_acknowledged_write_is_there_after_many_handovers(releases: Releases) -> None:
    with writers(releases) as started:
        for tag in ("v0.0.2", "v0.0.3"):
            releases.prepare(tag)  # forked while they write
        for tag in ("v0.0.2", "v0.0.1", "v0.0.2", "v0.0.3", "v0.0.1", "v0.0.3", "v0.0.2", "v0.0.1"):
            before = sum(sum(writer.acknowledged.values()) for writer in started)
            releases.make_live(tag)
            deadline = time.monotonic() + 10
            while sum(sum(w.acknowledged.values()) for w in started) < before + 50:
                assert time.monotonic() < deadline, [w.failure for w in started]
                time.sleep(0.01)
    total = written(started)
    assert sum(total.values()) > 500
    assert stored(releases, "v0.0.1") == total
    for writer in started:
        allowed = {REFUSED, SERIALIZATION} if writer.repeatable_read else {REFUSED}
        assert set(writer.refusals) <= allowed
    assert sum(writer.refusals[REFUSED] for writer in started) > 0
    # The others follow: each of them holds the same rows once it has caught up.
    for tag in ("v0.0.2", "v0.0.3"):
        releases.make_live(tag)
        assert stored(releases, tag) == total


def test_a_transaction_that_does_not_end_is_named(releases: Releases) -> None:
    from mlops_sdk.errors import DeadlineError

    releases.prepare("v0.0.2")
    said: list[str] = []
    with releases.connect("v0.0.1") as conn, conn.transaction():
        conn.execute("UPDATE users SET count = count + 1 WHERE user_id = 1")
        pid = conn.info.backend_pid
        with pytest.raises(DeadlineError, match=f"pid {pid}"):
            releases.make_live("v0.0.2", report=said.append, timeout_s=4)
        assert releases.environment.ledger.pointer().epoch == 1
    assert said
    assert f"pid {pid}" in said[0]
    releases.make_live("v0.0.2")
    assert stored(releases, "v0.0.2")[1] == 1
