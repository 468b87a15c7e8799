"""The order in which the router's files change."""

import fcntl
from pathlib import Path

import pytest

from mlops_sdk.errors import NotFoundError
from mlops_sdk.traffic import router_files
from mlops_sdk.traffic.port import Routes
from mlops_sdk.traffic.router_files import FileTraffic, prepare_router


@pytest.fixture
def traffic(tmp_path: Path) -> FileTraffic:
    prepare_router(tmp_path, 8000)
    return FileTraffic(tmp_path)


def test_a_new_router_has_no_release(traffic: FileTraffic) -> None:
    assert traffic.read() == Routes(None, None, 0, 0)


def test_all_traffic_is_pointed_to_one_port(traffic: FileTraffic) -> None:
    traffic.point(9001)
    traffic.point(9002)
    routes = traffic.read()
    assert (routes.current_port, routes.next_share, routes.keyless_share) == (9002, 0, 0)
    assert routes.leads_only_to(9002)
    assert not routes.leads_only_to(9001)


def test_a_share_goes_to_next_and_a_new_next_begins_without(traffic: FileTraffic) -> None:
    traffic.point(9001)
    traffic.set_slots(9001, 9002)
    traffic.set_weight(64, keyless_share=0)
    assert traffic.read() == Routes(9001, 9002, 64, 0)
    assert not traffic.read().leads_only_to(9001)
    traffic.set_slots(9001, 9003)
    assert traffic.read() == Routes(9001, 9003, 0, 0)


def test_preparing_again_keeps_where_requests_go(traffic: FileTraffic, tmp_path: Path) -> None:
    traffic.point(9001)
    prepare_router(tmp_path, 8001)
    assert traffic.read().current_port == 9001


def test_a_folder_without_router_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="router"):
        FileTraffic(tmp_path).read()


def test_an_address_is_replaced_only_while_no_request_uses_it(
    traffic: FileTraffic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    traffic.point(9001)
    traffic.set_slots(9001, 9002)
    traffic.set_weight(10)
    steps: list[tuple[str, str]] = []
    replace = router_files._replace

    def recorded(path: Path, text: str) -> None:
        steps.append((path.name, text))
        replace(path, text)

    monkeypatch.setattr(router_files, "_replace", recorded)
    traffic.point(9003)
    assert steps == [
        ("share", "00"),
        ("keyless", "00"),
        ("next", "127.0.0.1:9003"),
        ("share", "g"),
        ("keyless", "g"),
        ("current", "127.0.0.1:9003"),
        ("share", "00"),
        ("keyless", "00"),
    ]


@pytest.mark.parametrize("stop_after", range(8))
def test_pointing_again_after_a_kill_at_any_step_ends_where_it_should(
    traffic: FileTraffic, monkeypatch: pytest.MonkeyPatch, stop_after: int
) -> None:
    traffic.point(9001)
    traffic.set_slots(9001, 9002)
    traffic.set_weight(10)
    replace = router_files._replace
    left = stop_after

    def dying(path: Path, text: str) -> None:
        nonlocal left
        if left == 0:
            raise KeyboardInterrupt
        left -= 1
        replace(path, text)

    monkeypatch.setattr(router_files, "_replace", dying)
    with pytest.raises(KeyboardInterrupt):
        traffic.point(9003)
    monkeypatch.setattr(router_files, "_replace", replace)
    traffic.point(9003)
    assert traffic.read().leads_only_to(9003)


def test_a_lock_of_one_that_stands_still_is_replaced(
    traffic: FileTraffic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(router_files, "_HUNG_S", 0.05)
    with (tmp_path / ".lock").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        traffic.point(9001)
    traffic.point(9002)
    assert traffic.read().leads_only_to(9002)
