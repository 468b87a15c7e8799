"""Writers in a process of their own: single-row increments at a given rate, by whichever release may write.

Like a service whose request is resent: a writer that is refused (42501) goes on as the other release. Times are
those of time.monotonic, which all processes of a machine share.
"""

import contextlib
import multiprocessing
import random
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from pydantic import SecretStr

WRITE = "UPDATE {table} SET count = count + 1, updated_at = clock_timestamp() WHERE user_id = %s"


@dataclass(frozen=True)
class Write:
    """One accepted write: which release took it, when it was asked for and when it was accepted."""

    release: int
    asked_s: float
    accepted_s: float


@dataclass
class Writers:
    """The running writers; `accepted` has their writes once they were stopped."""

    accepted: list[Write]

    def first(self, release: int, after_s: float) -> float:
        """When `release` accepted its first write after `after_s`."""
        return min(w.accepted_s for w in self.accepted if w.release == release and w.accepted_s > after_s)

    def latencies(self, start_s: float, end_s: float) -> list[float]:
        """Seconds from asking to accepting of the writes asked for in this time."""
        return [w.accepted_s - w.asked_s for w in self.accepted if start_s <= w.asked_s < end_s]


@contextlib.contextmanager
def writers(
    releases: Sequence[SecretStr], *, table: str, rows: int, count: int, rate_per_s: float
) -> Iterator[Writers]:
    """Run `count` writers that together try `rate_per_s` writes; they begin with the first release."""
    context = multiprocessing.get_context("spawn")
    stop, ready, results = context.Event(), context.Event(), context.SimpleQueue()
    urls = [conninfo.get_secret_value() for conninfo in releases]
    arguments = (urls, WRITE.format(table=table), rows, count, rate_per_s, ready, stop, results)
    process = context.Process(target=_run, args=arguments, daemon=True)
    process.start()
    found = Writers([])
    try:
        if not ready.wait(60):
            raise RuntimeError("the writers did not start")
        yield found
    finally:
        stop.set()
        if process.is_alive():
            error, accepted = results.get()
            found.accepted += accepted
            process.join(30)
            if error:
                raise RuntimeError(f"a writer failed: {error}")
        elif process.exitcode:
            raise RuntimeError(f"the writers ended with {process.exitcode}")


def _run(
    urls: list[str],
    statement: str,
    rows: int,
    count: int,
    rate_per_s: float,
    ready: Any,
    stop: Any,
    results: Any,
) -> None:
    accepted: list[Write] = []
    errors: list[str] = []
    together = threading.Barrier(count + 1)

    def work(seed: int) -> None:
        try:
            _write(urls, statement, rows, count / rate_per_s, seed, together, stop, accepted)
        except (psycopg.Error, threading.BrokenBarrierError) as error:
            errors.append(str(error))
            together.abort()

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(count)]
    for thread in threads:
        thread.start()
    with contextlib.suppress(threading.BrokenBarrierError):
        together.wait()
    ready.set()
    stop.wait()
    for thread in threads:
        thread.join()
    results.put((errors[0] if errors else None, accepted))


def _write(
    urls: list[str],
    statement: str,
    rows: int,
    period_s: float,
    seed: int,
    together: threading.Barrier,
    stop: Any,
    accepted: list[Write],
) -> None:
    chance = random.Random(seed)  # noqa: S311 - load, not a secret
    with contextlib.ExitStack() as stack:
        conns = [stack.enter_context(psycopg.connect(url, autocommit=True)) for url in urls]
        together.wait()
        release, due = 0, time.monotonic() + period_s * chance.random()
        while not stop.is_set():
            stop.wait(max(0.0, due - time.monotonic()))
            due = max(due + period_s, time.monotonic() - 1)
            user, asked = chance.randint(1, rows), time.monotonic()
            while not stop.is_set():
                try:
                    conns[release].execute(statement.encode(), [user])
                except psycopg.errors.InsufficientPrivilege:
                    release = (release + 1) % len(conns)
                    time.sleep(0.005 * chance.random())
                else:
                    accepted.append(Write(release, asked, time.monotonic()))
                    break
