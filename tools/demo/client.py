"""A client that asks all along: real requests to the router, counted, in a loop bounded in time and number."""

import threading
import time
from dataclasses import dataclass, field

import httpx

MAX_REQUESTS = 20_000
PAUSE_S = 0.03  # a client, not a load test: the machine has work to do meanwhile


@dataclass
class Tally:
    """What a client saw. `failures` holds a line for each request that was not answered with 2xx."""

    requests: int = 0
    failures: list[str] = field(default_factory=list)
    feedback: list[str] = field(default_factory=list)  # request ids of accepted feedback
    releases: list[str] = field(default_factory=list)  # in the order in which they answered, without repeats


class AskingClient:
    """Asks for recommendations, and posts feedback every `feedback_every` requests, until it is stopped.

    Use as a context manager. Users `first_user` and above write; those below only read.
    """

    def __init__(
        self, router_url: str, *, first_user: int, users: int, films: int, feedback_every: int = 5
    ) -> None:
        self.tally = Tally()
        self._url = router_url
        self._first_user, self._users, self._films = first_user, users, films
        self._feedback_every = feedback_every
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="asking-client", daemon=True)

    def __enter__(self) -> "AskingClient":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=30)

    def _run(self) -> None:
        with httpx.Client(base_url=self._url, timeout=10) as http:
            for number in range(MAX_REQUESTS):
                if self._stop.wait(PAUSE_S):
                    return
                user = self._first_user + number % self._users
                self._ask(http, number, user)

    def _ask(self, http: httpx.Client, number: int, user: int) -> None:
        tally = self.tally
        tally.requests += 1
        started = time.monotonic()
        try:
            if number % self._feedback_every == 0:
                body = {"user_id": user, "film_id": number % self._films, "rating": 5}
                answer = http.post("/feedback", json=body)
            else:
                answer = http.get("/recommend", params={"user_id": user, "k": 5})
        except httpx.HTTPError as error:
            tally.failures.append(f"{type(error).__name__} after {time.monotonic() - started:.2f} s")
            return
        if not answer.is_success:
            tally.failures.append(f"{answer.request.method} {answer.request.url.path}: {answer.status_code}")
            return
        release = answer.headers.get("X-MLOps-Release", "?")
        if not tally.releases or tally.releases[-1] != release:
            tally.releases.append(release)
        if answer.request.method == "POST":
            tally.feedback.append(answer.headers["X-Request-Id"])
