"""People who ask a service all the time, each with a bucket of their own, until they are told to stop."""

import secrets
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx

from mlops_sdk.release.buckets import bucket_headers

_MOST = 200_000  # requests of one load: no test needs more, and none goes on for ever
_PAUSE_S = 0.005


@dataclass
class Load:
    """Answers by release. `failed` lists what was neither an answer nor below 500."""

    base_url: str
    app: str
    failed: list[str] = field(default_factory=list)
    _answers: Counter[str] = field(default_factory=Counter)
    _counting: threading.Lock = field(default_factory=threading.Lock)
    _stop: threading.Event = field(default_factory=threading.Event)

    def by_release(self) -> dict[str, int]:
        """How many answers each release gave."""
        with self._counting:
            return dict(self._answers)

    def total(self) -> int:
        """How many answers there were."""
        return sum(self.by_release().values())

    def forget(self) -> None:
        """Count anew from here."""
        with self._counting:
            self._answers.clear()

    def run(self, writes: bool) -> None:
        """Ask until stopped: read, and every tenth time count, where this thread `writes`."""
        with httpx.Client(base_url=self.base_url, timeout=10, trust_env=False) as http:
            for number in range(_MOST):
                if self._stop.is_set():
                    return
                person = secrets.token_hex(4)
                method = "POST" if writes and number % 10 == 0 else "GET"
                self._ask(http, method, person)
                self._stop.wait(_PAUSE_S)

    def _ask(self, http: httpx.Client, method: str, person: str) -> None:
        try:
            answer = http.request(
                method, "/count", params={"name": person}, headers=bucket_headers(self.app, person)
            )
        except httpx.HTTPError as error:
            self.failed.append(f"{method}: {type(error).__name__} {error}")
            return
        with self._counting:
            self._answers[answer.headers.get("X-MLOps-Release", "none")] += 1
        if answer.status_code >= 500:
            self.failed.append(f"{method}: {answer.status_code} {answer.text[:200]}")

    def stop(self) -> None:
        """No request is begun any more."""
        self._stop.set()


@contextmanager
def load(base_url: str, app: str, *, threads: int = 3) -> Iterator[Load]:
    """A load that runs as long as the block."""
    found = Load(base_url, app)
    workers = [threading.Thread(target=found.run, args=(number == 0,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    try:
        yield found
    finally:
        found.stop()
        for worker in workers:
            worker.join(30)
