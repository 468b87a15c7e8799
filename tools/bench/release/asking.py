"""Clients who ask the router all the time, each request for another person, and note who answered when."""

import json
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic

import httpx

from mlops_sdk.release.buckets import bucket_headers
from tools.bench.release.answers import Answer

_MOST = 200_000  # requests of one client: none goes on for ever
APP = "recommender"


@dataclass
class Asked:
    """The answers so far; `problems` has a line for each request without one."""

    answers: list[Answer] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def recommendation(http: httpx.Client, person: int) -> httpx.Response:
    """Ask for films."""
    headers = bucket_headers(APP, str(person))
    return http.get("/recommend", params={"user_id": person, "k": 5}, headers=headers)


def feedback(http: httpx.Client, person: int) -> httpx.Response:
    """Write: a person's row in the forked table, and one in the shared one."""
    body = {"user_id": person, "film_id": person % 3201, "rating": 5}
    return http.post("/feedback", content=json.dumps(body), headers=bucket_headers(APP, str(person)))


def answer(http: httpx.Client, person: int) -> httpx.Response:
    """Ask the service of `served`."""
    return http.get("/answer", headers=bucket_headers(APP, str(person)))


@contextmanager
def asking(
    url: str,
    ask: Callable[[httpx.Client, int], httpx.Response],
    *,
    persons: range,
    pause_s: float,
    clients: int = 1,
) -> Iterator[Asked]:
    """Let `clients` ask, each every `pause_s` and the time of an answer, as long as the block lasts."""
    found, stop = Asked(), threading.Event()

    def run(seed: int) -> None:
        chance = random.Random(seed)  # noqa: S311 - load, not a secret
        with httpx.Client(base_url=url, timeout=10, trust_env=False) as http:
            for _ in range(_MOST):
                if stop.wait(pause_s):
                    return
                began = monotonic()
                try:
                    given = ask(http, chance.choice(persons))
                except httpx.HTTPError as error:
                    found.problems.append(f"{type(error).__name__} after {monotonic() - began:.1f} s")
                    continue
                release = given.headers.get("X-MLOps-Release", "none")
                found.answers.append(Answer(began, monotonic(), release, given.status_code))

    threads = [threading.Thread(target=run, args=(seed,), daemon=True) for seed in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield found
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)
