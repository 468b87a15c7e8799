"""What worker processes have in common: the agreed document, and metrics that are added up."""

import asyncio
import gc
import os
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from mlops_sdk.serving.loading.preparing import Prepared
from mlops_sdk.serving.server import worker_metrics
from mlops_sdk.serving.server.agreement import Agreement
from mlops_sdk.serving.server.worker import LongLived
from mlops_sdk.serving.server.worker_metrics import summed
from mlops_sdk.serving.slots.metrics import SlotMetrics
from tests.support.serving import Served, serving, settings_of


def exposition(requests: int, share: float, seconds: float) -> str:
    metrics = SlotMetrics()
    lane = metrics.lane("current", "iris", 1)
    lane.answered(200, [seconds] * requests)
    lane.in_flight = 2
    metrics.share.set(share)
    metrics.swaps.labels("next").inc()
    return generate_latest(metrics.registry).decode()


def test_counters_and_histograms_of_workers_are_added_and_shares_are_not() -> None:
    text = summed([exposition(3, 0.7, 0.0015), exposition(4, 0.7, 0.2)])
    lines = text.splitlines()
    labels = 'model="iris",slot="current",version="1"'
    assert f'mlops_model_requests_total{{code="200",{labels}}} 7.0' in lines
    assert f"mlops_model_request_duration_seconds_count{{{labels}}} 7.0" in lines
    assert f'mlops_model_request_duration_seconds_bucket{{le="0.002",{labels}}} 3.0' in lines
    assert f'mlops_model_request_duration_seconds_bucket{{le="+Inf",{labels}}} 7.0' in lines
    assert f"mlops_model_in_flight{{{labels}}} 4.0" in lines
    assert 'mlops_model_swaps_total{slot="next"} 2.0' in lines
    assert "mlops_canary_share_of_current 0.7" in lines


def test_texts_in_labels_survive_adding() -> None:
    registry = CollectorRegistry()
    Counter("mlops_odd", 'A "counter".', ["what"], registry=registry).labels('a\\b"c\nd').inc()
    Gauge("mlops_plain", "A gauge.", registry=registry).set(2)
    text = generate_latest(registry).decode()
    assert r'mlops_odd_total{what="a\\b\"c\nd"} 2.0' in summed([text, text])


def test_a_change_is_seen_once_and_as_a_whole(tmp_path: Path) -> None:
    one, other = Agreement(tmp_path), Agreement(tmp_path)
    assert one.read() is None
    assert one.news() is None
    other.write({"generation": 1})
    assert one.news() == {"generation": 1}
    assert one.news() is None
    other.write({"generation": 2})
    assert one.news() == {"generation": 2}


def test_changes_take_turns(tmp_path: Path) -> None:
    order: list[str] = []

    async def change(name: str, agreement: Agreement) -> None:
        async with agreement.changing():
            order.append(f"{name} begins")
            await asyncio.sleep(0.01)
            order.append(f"{name} ends")

    async def both() -> None:
        await asyncio.gather(change("one", Agreement(tmp_path)), change("other", Agreement(tmp_path)))

    asyncio.run(both())
    assert order in (
        ["one begins", "one ends", "other begins", "other ends"],
        ["other begins", "other ends", "one begins", "one ends"],
    )


def test_a_worker_that_is_gone_is_waited_for_no_more(tmp_path: Path) -> None:
    agreement = Agreement(tmp_path)
    agreement.follow(3)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    (tmp_path / "workers" / str(gone.pid)).write_text("1")
    assert asyncio.run(agreement.all_follow(3))
    assert [(worker.pid, worker.generation) for worker in agreement.workers()] == [(os.getpid(), 3)]
    agreement.leave()
    assert agreement.workers() == []


def test_a_worker_writes_its_metrics_down_only_where_others_add_them_up(
    iris: Prepared, tmp_path: Path
) -> None:
    for workers in (1, 2):
        folder = tmp_path / str(workers)
        with serving(settings_of(folder, workers=workers), iris) as served, served.client() as client:
            client.post("/predict", json={"data": [[5.1, 3.5, 1.4, 0.2]]}).raise_for_status()
            assert 'mlops_model_requests_total{code="200"' in client.get("/metrics").text
        notes = list((folder / "shared" / "metrics").iterdir())
        assert len(notes) == workers - 1  # the two are one process here


def test_metrics_that_could_not_be_written_are_written_when_there_is_room_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_metrics, "WRITE_EVERY_S", 0.0)
    registry, note = CollectorRegistry(), tmp_path / "metrics" / str(os.getpid())
    counted = Counter("counted", "Something.", registry=registry)

    async def fill_up_and_make_room() -> None:
        writing = asyncio.create_task(worker_metrics.write_regularly(tmp_path, registry))
        while not note.exists():
            await asyncio.sleep(0)
        in_the_way = note.with_suffix(".new")  # where it writes first: now it cannot
        in_the_way.mkdir()
        for _ in range(10):
            await asyncio.sleep(0)
        counted.inc()
        in_the_way.rmdir()
        while b"counted_total 1.0" not in note.read_bytes():
            assert not writing.done()
            await asyncio.sleep(0)
        writing.cancel()

    asyncio.run(asyncio.wait_for(fill_up_and_make_room(), 30))


def test_what_a_worker_began_with_is_no_longer_looked_through_for_garbage(served: Served) -> None:
    async def begun() -> int:
        async with LongLived().running(served.server):
            return gc.get_freeze_count()

    before = gc.get_freeze_count()
    try:
        assert asyncio.run(begun()) > before + 10_000
    finally:
        gc.unfreeze()
