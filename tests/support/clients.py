"""Clients that ask all the time, and what they were answered."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx


@contextmanager
def clients(asker: Callable[[], Callable[[], str]], *, count: int = 4) -> Iterator[Counter[str]]:
    """`count` clients that ask until the block ends; how often each answer, or kind of error, came.

    `asker` makes what one client asks with, a connection of its own.
    """
    seen: Counter[str] = Counter()
    lock, over = threading.Lock(), threading.Event()

    def run() -> None:
        ask = asker()
        while not over.is_set():
            try:
                answer = ask()
            except httpx.HTTPError as error:
                answer = type(error).__name__
            with lock:
                seen[answer] += 1

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        over.set()
        for thread in threads:
            thread.join()
