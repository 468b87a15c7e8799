"""Caddy with the static config, under load, while its files are replaced."""

import http.client
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mlops_sdk.platform.programs import Place, router
from mlops_sdk.platform.supervisor import Supervisor
from mlops_sdk.release.buckets import BUCKETS
from mlops_sdk.stack.ports import free_ports
from mlops_sdk.traffic.router_files import FileTraffic, prepare_router

ROOT = Path(__file__).parents[2]
MISSING = 0


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Without it, the answer's two packets wait for one another for 40 ms.
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = f"{self.server.server_port} {len(self.rfile.read(length))}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def backend(port: int = 0) -> Iterator[int]:
    """A server that answers with its port and the length of the request's body."""
    server = ThreadingHTTPServer(("127.0.0.1", port), _Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Client:
    """A connection to the router; each answer is (status, the port that answered or 0, body)."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_reason: object) -> None:
        self._connection.close()

    def ask(
        self,
        *,
        bucket: str | None = None,
        slot: str | None = None,
        body: bytes | None = None,
        path: str = "/",
    ) -> tuple[int, int, str]:
        headers = {"X-MLOps-Bucket": bucket, "X-MLOps-Slot": slot}
        sent = {key: value for key, value in headers.items() if value is not None}
        self._connection.request("GET" if body is None else "POST", path, body, sent)
        answer = self._connection.getresponse()
        text = answer.read().decode()
        return (
            answer.status,
            int(text.split()[0]) if answer.status == 200 and text[0].isdigit() else MISSING,
            text,
        )


@pytest.fixture
def router_port(supervisor: Supervisor) -> int:
    (port,) = free_ports(1)
    place = Place(ROOT, supervisor.environment_folder)
    prepare_router(place.folder("router"), port)
    supervisor.apply(router(place, port=port))
    return port


@pytest.fixture
def traffic(router_port: int, supervisor: Supervisor) -> FileTraffic:
    return FileTraffic(supervisor.environment_folder / "router")


def test_without_a_release_the_answer_says_so(router_port: int) -> None:
    with Client(router_port) as client:
        status, _, body = client.ask()
        assert status == 503
        assert "no release is live" in body
        assert client.ask(path="/_mlops/router")[0] == 200


def test_shares_follow_the_bucket_and_the_slot_header_is_obeyed(
    router_port: int, traffic: FileTraffic
) -> None:
    with Client(router_port) as client, backend() as one, backend() as two:
        traffic.point(one)
        assert client.ask()[1] == one
        traffic.set_slots(one, two)
        assert client.ask(bucket="00")[1] == one
        traffic.set_weight(0x80, keyless_share=0)
        assert client.ask(bucket="7f")[1] == two
        assert client.ask(bucket="80")[1] == one
        assert client.ask(bucket="7f", slot="current")[1] == one
        assert {client.ask()[1] for _ in range(30)} == {one}
        # What is no bucket counts as none.
        assert {client.ask(bucket=wrong)[1] for wrong in ("", "7", "7f0", "7F", "zz", "..")} == {one}
        traffic.set_weight(BUCKETS)
        assert {client.ask()[1], client.ask(bucket="ff")[1]} == {two}
        assert client.ask(slot="current")[1] == one
        assert client.ask(slot="next")[1] == two


def test_requests_without_a_bucket_go_by_chance(router_port: int, traffic: FileTraffic) -> None:
    with Client(router_port) as client, backend() as one, backend() as two:
        traffic.point(one)
        traffic.set_slots(one, two)
        traffic.set_weight(64)
        seen = Counter(client.ask()[1] for _ in range(1000))
    # 250 expected; seven standard deviations wide.
    assert 155 < seen[two] < 345
    assert seen[one] + seen[two] == 1000


def test_a_dead_next_is_passed_over_also_for_posts(router_port: int, traffic: FileTraffic) -> None:
    (dead,) = free_ports(1)
    with Client(router_port) as client, backend() as one:
        traffic.point(one)
        traffic.set_slots(one, dead)
        traffic.set_weight(BUCKETS)
        for _ in range(30):
            assert client.ask(body=b"x" * 100_000) == (200, one, f"{one} 100000")
            assert client.ask()[1] == one
        with backend(dead) as two:
            deadline = time.monotonic() + 10
            while client.ask()[1] != two:
                assert time.monotonic() < deadline, "next is tried again"
                time.sleep(0.05)


def test_requests_wait_for_a_current_that_is_started_again(router_port: int, traffic: FileTraffic) -> None:
    (port,) = free_ports(1)
    traffic.point(port)
    with Client(router_port) as client, ThreadPoolExecutor(1) as pool:
        asked = pool.submit(client.ask, body=b"abc")
        time.sleep(0.5)
        with backend(port):
            assert asked.result() == (200, port, f"{port} 3")


def test_a_current_that_stays_away_is_told_with_503(router_port: int, traffic: FileTraffic) -> None:
    (port,) = free_ports(1)
    traffic.point(port)
    with Client(router_port) as client:
        status, _, body = client.ask()
    assert status == 503
    assert "does not answer" in body


def test_pointing_back_and_forth_under_load_drops_no_request(router_port: int, traffic: FileTraffic) -> None:
    stop = threading.Event()
    seen: Counter[tuple[int, int]] = Counter()

    def load(seed: int) -> Counter[tuple[int, int]]:
        own = Counter[tuple[int, int]]()
        with Client(router_port) as client:
            while not stop.is_set():
                number = own.total()
                body = b"x" * 500 if number % 3 == 0 else None
                status, port, _ = client.ask(bucket=f"{(number * 7 + seed) % 256:02x}", body=body)
                own[status, port] += 1
        return own

    with backend() as one, backend() as two, backend() as three, ThreadPoolExecutor(4) as pool:
        traffic.point(one)
        loads = [pool.submit(load, seed) for seed in range(4)]
        try:
            for turn in range(60):
                traffic.point((one, two, three)[turn % 3])
                traffic.set_slots((one, two, three)[turn % 3], (one, two, three)[(turn + 1) % 3])
                traffic.set_weight(turn * 4)
                time.sleep(0.1)
        finally:
            stop.set()
        for done in loads:
            seen.update(done.result())
    assert {status for status, _ in seen} == {200}
    assert {port for _, port in seen} == {one, two, three}
    print(f"requests: {seen.total()}, failed: 0")


def test_a_release_that_stops_after_the_traffic_left_it_drops_no_request(
    router_port: int, traffic: FileTraffic
) -> None:
    stop = threading.Event()

    def load() -> Counter[int]:
        own = Counter[int]()
        with Client(router_port) as client:
            while not stop.is_set():
                own[client.ask(body=b"write")[0]] += 1
        return own

    with backend() as first, ThreadPoolExecutor(4) as pool:
        traffic.point(first)
        loads = [pool.submit(load) for _ in range(4)]
        try:
            for _ in range(10):
                with backend() as guest:
                    traffic.point(guest)
                    time.sleep(0.15)
                    traffic.point(first)
                    # What drains the old service: nothing of it is under way any more.
                    time.sleep(0.15)
        finally:
            stop.set()
        statuses = sum((done.result() for done in loads), Counter[int]())
    assert set(statuses) == {200}
