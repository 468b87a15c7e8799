"""Many connections that ask a server all the time, in one event loop: client libraries are too slow for load."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Answer:
    """An answer: status, headers in lower case, body."""

    status: int
    headers: dict[str, str]
    body: bytes


def request_bytes(path: str, body: bytes, headers: dict[str, str] | None = None) -> bytes:
    """A POST of JSON."""
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}"]
    lines += [
        f"{name}: {value}" for name, value in ({"Content-Type": "application/json"} | (headers or {})).items()
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def ask_all(
    port: int,
    requests: Iterator[bytes],
    check: Callable[[bytes, Answer], None],
    *,
    connections: int,
) -> int:
    """Send every request of `requests`, each over one of so many connections; how many were sent.

    `check` gets each request and its answer, and raises where it is wrong. A connection that the server ends after an
    answer is opened again; one that ends without an answer raises ConnectionError.
    """
    sent = 0

    async def one() -> None:
        nonlocal sent
        stream = None
        for request in requests:
            reader, writer = stream or await asyncio.open_connection("127.0.0.1", port)
            writer.write(request)
            answer = await _read(reader)
            sent += 1
            check(request, answer)
            stream = reader, writer
            if answer.headers.get("connection") == "close":
                writer.close()
                stream = None
        if stream:
            stream[1].close()

    await asyncio.gather(*(one() for _ in range(connections)))
    return sent


async def _read(reader: asyncio.StreamReader) -> Answer:
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").strip().split("\r\n")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Answer(int(first.split()[1]), headers, body)
