"""Ten minutes at full load: `make soak-serving`. Every ten seconds the model changes."""

import asyncio
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.connections import Answer, ask_all, request_bytes
from tests.support.served_process import ANSWERS, ROWS, serve_process
from tests.support.soak import Report

CONNECTIONS = 16
WARM_S = 60.0
CHANGE_EVERY_S = 10.0


@pytest.mark.soak
@pytest.mark.timeout(7_200)
def test_at_full_load_memory_grows_by_no_more_than_5_percent(
    iris_registry: str, tmp_path: Path, report: Report, counts: dict[str, Any]
) -> None:
    lasts_s = float(os.environ.get("SOAK_S", "600"))
    request = request_bytes("/predict", json.dumps({"data": ROWS}).encode())
    versions: dict[str, int] = {}
    ends_at = time.monotonic() + WARM_S + lasts_s

    def requests() -> Iterator[bytes]:
        while time.monotonic() < ends_at:
            yield request

    def check(_: bytes, answer: Answer) -> None:
        assert answer.status == 200, answer
        version = answer.headers["x-mlops-models"].rpartition("/")[2]
        assert json.loads(answer.body)["predictions"] == ANSWERS[version]
        versions[version] = versions.get(version, 0) + 1

    with serve_process(iris_registry, tmp_path) as served, served.client() as client:
        memory: list[int] = []

        def change() -> None:
            began, number = time.monotonic(), 0
            while time.monotonic() < ends_at:
                number += 1
                client.post(
                    "/update-model", json={"model_uri": f"models:/iris/{number % 2 + 1}"}
                ).raise_for_status()
                client.post("/set-canary-probability", json={"probability": 0.5}).raise_for_status()
                client.post("/accept-next-model").raise_for_status()
                if time.monotonic() - began > WARM_S:
                    memory.append(served.memory())
                    report(
                        f"{memory[-1] / 2**20:.1f} MiB, {sum(versions.values()):,} requests, {number} changes"
                    )
                time.sleep(min(CHANGE_EVERY_S, max(0.0, ends_at - time.monotonic())))

        async def both() -> int:
            changing = asyncio.create_task(asyncio.to_thread(change))
            sent = await ask_all(served.port, requests(), check, connections=CONNECTIONS)
            await changing
            return sent

        sent = asyncio.run(both())
        counts.update(requests=sent, memory_first=memory[0], memory_last=memory[-1], memory_most=max(memory))
        assert memory[-1] <= memory[0] * 1.05, [round(each / 2**20, 1) for each in memory]
        assert min(versions["1"], versions["2"]) > 0
