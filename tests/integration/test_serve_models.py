"""`mlops serve` as people run it: a process, a real MLflow, versions that change under load, and what may be killed."""

import asyncio
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest

from tests.support.connections import Answer, ask_all, request_bytes
from tests.support.fuzz import bodies
from tests.support.proxy import proxy
from tests.support.served_process import ADMIN, ANSWERS, ROWS, ServeProcess, coherent, serve_process

BODY = json.dumps({"data": ROWS}).encode()
SWAPS = 500
CONNECTIONS = 16


@pytest.fixture(scope="module")
def served(iris_registry: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServeProcess]:
    """One worker."""
    with serve_process(iris_registry, tmp_path_factory.mktemp("serve")) as found:
        yield found


@pytest.fixture(scope="module")
def workers(iris_registry: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServeProcess]:
    """Two workers."""
    with serve_process(iris_registry, tmp_path_factory.mktemp("workers"), "--workers", "2") as found:
        yield found


def until(holds: Callable[[], bool], what: str, within_s: float = 60) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def test_a_model_is_updated_tried_and_accepted(served: ServeProcess) -> None:
    with served.client() as client:
        answer = client.post("/update-model", json={"model_uri": "models:/iris/2"})
        assert answer.json() == {
            "status": "Next model updated from models:/iris/2",
            "canary_probability": 1.0,
        }
        assert coherent(client.post("/predict", json={"data": ROWS}))["version"] == "1"
        client.post("/set-canary-probability", json={"probability": 0.0})
        assert coherent(client.post("/predict", json={"data": ROWS}))["version"] == "2"
        client.post("/accept-next-model")
        client.post("/set-canary-probability", json={"probability": 1.0})
        assert coherent(client.post("/predict", json={"data": ROWS}))["version"] == "2"
        assert client.get("/readyz").json()["current"]["note"].startswith("compiled: LogisticRegression")
        client.post("/update-model", json={"model_uri": "models:/iris@champion"})
        client.post("/accept-next-model")


def test_what_is_not_registered_is_not_found_and_changes_nothing(served: ServeProcess) -> None:
    with served.client() as client:
        before = client.get("/readyz").json()["generation"]
        answer = client.post("/update-model", json={"model_uri": "models:/iris/99"})
        assert answer.status_code == 404
        assert "http" not in answer.text  # where the registry is, is the operator's to know
        assert client.get("/readyz").json()["generation"] == before


def test_500_swaps_under_16_connections_fail_no_request(served: ServeProcess) -> None:
    stopped = False
    versions: dict[str, int] = {}

    def requests() -> Iterator[bytes]:
        while not stopped:
            yield request_bytes("/predict", BODY)

    def check(_: bytes, answer: Answer) -> None:
        assert answer.status == 200, answer.body
        body = json.loads(answer.body)
        version = answer.headers["x-mlops-models"].rpartition("/")[2]
        assert body["predictions"] == ANSWERS[version]
        assert body["model_used"] == answer.headers["x-mlops-slot"]
        versions[version] = versions.get(version, 0) + 1

    def swap() -> None:
        nonlocal stopped
        try:
            with served.client() as client:
                client.post("/set-canary-probability", json={"probability": 0.5}).raise_for_status()
                for number in range(SWAPS // 2):
                    uri = f"models:/iris/{2 - number % 2}"
                    client.post("/update-model", json={"model_uri": uri}).raise_for_status()
                    client.post("/accept-next-model").raise_for_status()
                client.post("/set-canary-probability", json={"probability": 1.0}).raise_for_status()
        finally:
            stopped = True

    async def both() -> int:
        swapping = asyncio.create_task(asyncio.to_thread(swap))
        sent = await ask_all(served.port, requests(), check, connections=CONNECTIONS)
        await swapping
        return sent

    sent = asyncio.run(both())
    assert sum(versions.values()) == sent
    assert min(versions["1"], versions["2"]) > 0


def test_workers_agree_and_a_killed_one_starts_again_with_what_was_agreed(workers: ServeProcess) -> None:
    with workers.client() as client:
        client.post("/update-model", json={"model_uri": "models:/iris/2"}).raise_for_status()
        client.post("/accept-next-model").raise_for_status()
        before = client.get("/readyz").json()
        assert before["skew"] is False
        assert [worker["generation"] for worker in before["workers"]] == [before["generation"]] * 2
    killed = before["workers"][0]["pid"]
    os.kill(killed, signal.SIGKILL)
    for _ in range(20):
        with httpx.Client(
            base_url=workers.url, transport=httpx.HTTPTransport(retries=5), timeout=60
        ) as client:
            assert coherent(client.post("/predict", json={"data": ROWS}))["version"] == "2"

    def again() -> bool:
        found = httpx.get(f"{workers.url}/readyz", trust_env=False, timeout=60).json()
        pids = [worker["pid"] for worker in found["workers"]]
        return len(pids) == 2 and killed not in pids and not found["skew"]

    until(again, "the worker did not start again")


def _words(process: psutil.Process) -> list[str]:
    """Its command; nothing of one that has ended."""
    try:
        return process.cmdline()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return []


def test_a_worker_that_is_killed_while_it_loads_leaves_no_lock_and_no_helper(workers: ServeProcess) -> None:
    def loading() -> list[psutil.Process]:
        tree = psutil.Process(workers.process.pid).children(recursive=True)
        return [each for each in tree if "mlops_sdk.serving.loading.process" in _words(each)]

    def load() -> int:
        with httpx.Client(base_url=workers.url, headers=ADMIN, trust_env=False, timeout=60) as client:
            try:
                return client.post("/update-model", json={"model_uri": "models:/iris/1"}).status_code
            except httpx.TransportError:
                return 0

    warm = loading()
    for helper in warm:  # one that is warm would be too quick to be caught
        helper.kill()
    # Who is asked before it has noticed sends the order to the dead one, and starts none.
    until(lambda: not any(psutil.pid_exists(each.pid) for each in warm), "nobody noticed")
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(load)
        until(lambda: bool(loading()), "no helper started")
        [helper] = loading()
        worker = helper.parent()
        assert worker is not None
        worker.kill()
        assert asked.result() == 0
    until(lambda: not _words(helper), "the helper goes on")
    until(lambda: load() == 200, "nobody can load a model any more")
    with workers.client() as client:
        until(lambda: not client.get("/readyz").json()["skew"], "the workers do not agree")
        assert len(client.get("/readyz").json()["workers"]) == 2


def test_changes_at_either_worker_are_seen_at_both_when_they_are_answered(workers: ServeProcess) -> None:
    for probability in (0.0, 1.0, 0.25, 1.0):
        with workers.client() as client:
            client.post("/set-canary-probability", json={"probability": probability}).raise_for_status()
        for _ in range(6):  # new connections: some reach the one, some the other
            answer = httpx.get(f"{workers.url}/", trust_env=False, timeout=60)
            assert answer.json()["canary_probability"] == probability


def test_metrics_are_those_of_all_workers(workers: ServeProcess) -> None:
    def counted() -> float:
        text = httpx.get(f"{workers.url}/metrics", trust_env=False, timeout=60).text
        lines = [line for line in text.splitlines() if line.startswith("mlops_model_requests_total{")]
        return sum(float(line.rpartition(" ")[2]) for line in lines)

    before = counted()
    for _ in range(20):
        httpx.post(f"{workers.url}/predict", json={"data": ROWS}, trust_env=False, timeout=60)
    until(lambda: counted() >= before + 20, "not all requests are counted")


def test_without_mlflow_serving_goes_on_and_only_loading_fails(iris_registry: str, tmp_path: Path) -> None:
    with proxy(int(iris_registry.rpartition(":")[2])) as registry:
        uri = f"http://127.0.0.1:{registry.port}"
        with serve_process(uri, tmp_path) as served, served.client() as client:
            registry.refuse()
            registry.cut()
            assert coherent(client.post("/predict", json={"data": ROWS}))["version"] == "1"
            assert client.post("/update-model", json={"model_uri": "models:/iris/2"}).status_code == 503
            assert coherent(client.post("/predict", json={"data": ROWS}))["version"] == "1"
            registry.accept()
            assert client.post("/update-model", json={"model_uri": "models:/iris/2"}).status_code == 200


@pytest.mark.parametrize(
    ("model", "code", "said"),
    [
        ("models:/iris/77", 6, "has no version 77"),
        ("models:/nothing/1", 6, "no registered model 'nothing'"),
        ("runs:/abc", 2, "only models of the registry are served"),
    ],
)
def test_a_model_that_cannot_be_served_ends_the_command(
    iris_registry: str, tmp_path: Path, model: str, code: int, said: str
) -> None:
    command = [
        str(Path(sys.executable).with_name("mlops")),
        "serve",
        "--model",
        model,
        "--mlflow-uri",
        iris_registry,
    ]
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == code, done.stderr
    assert said in done.stderr


def test_a_fuzz_of_10000_bodies_gets_4xx_and_leaves_memory_flat(served: ServeProcess, seed: int) -> None:
    statuses: dict[int, int] = {}

    def check(request: bytes, answer: Answer) -> None:
        statuses[answer.status] = statuses.get(answer.status, 0) + 1
        assert 400 <= answer.status < 500, (request[:500], answer)
        assert b"Traceback" not in answer.body

    paths = itertools.cycle(["/predict", "/v2/models/iris/infer", "/invocations", "/update-model"])

    def requests(first: int, count: int) -> Iterator[bytes]:
        for body in bodies(seed + first, count):
            yield request_bytes(next(paths), body, ADMIN)

    asyncio.run(ask_all(served.port, requests(0, 2_000), check, connections=CONNECTIONS))
    before = served.memory()
    asyncio.run(ask_all(served.port, requests(1, 8_000), check, connections=CONNECTIONS))
    assert sum(statuses.values()) == 10_000
    assert served.memory() < before * 1.05
    with served.client() as client:
        assert coherent(client.post("/predict", json={"data": ROWS}))
