"""Killed at any statement, a deploy or handover that is run again converges: one live release, nothing lost.

Kills are spread over the statements; a stride of 1 in `STRIDE_*` tries each of them (about two minutes).
"""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from mlops_sdk.ledger.database import control_transaction
from mlops_sdk.ledger.lease import Holder, Lease
from mlops_sdk.ledger.store import lock_pointer
from mlops_sdk.state import Forked, Shared, State
from mlops_sdk.traffic.shift import set_right
from tests.support.environment import Environment
from tests.support.releases import Releases
from tests.support.tables import interactions, metadata, users

KILLED = -signal.SIGKILL
STRIDE_HANDOVER = 4
STRIDE_DEPLOY = 35


def run_and_kill(work: Callable[[], Any], at_statement: int) -> bool:
    """Run `work` in a child that is killed before that statement (from 1); False when it ended before."""
    pid = os.fork()
    if pid == 0:
        try:
            _kill_before(at_statement)
            work()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == KILLED


def _kill_before(at_statement: int) -> None:
    left = at_statement
    execute: Any = psycopg.Connection.execute

    def counting(self: Any, *arguments: Any, **options: Any) -> Any:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return execute(self, *arguments, **options)

    psycopg.Connection.execute = counting  # type: ignore[method-assign]


@pytest.fixture
def releases(environment: Environment, tmp_path: Path) -> Releases:
    found = Releases(environment, tmp_path)
    add(found, 1)
    add(found, 2)
    found.deploy("v0.0.1")
    write(found, "v0.0.1")
    return found


def add(releases: Releases, number: int) -> str:
    meta = metadata()
    state = State(Forked(users(meta)), Shared(interactions(meta)))
    return releases.lock(f"v0.0.{number}", state, service=f"a.b:s{number}").release


def write(releases: Releases, tag: str) -> int:
    """Add 1 as the live release; the new value."""
    with releases.connect(tag) as conn:
        row = conn.execute(
            "INSERT INTO users AS u (user_id, count) VALUES (1, 1)"
            " ON CONFLICT (user_id) DO UPDATE SET count = u.count + 1 RETURNING count"
        ).fetchone()
    assert row is not None
    return int(row[0])


def assert_sound(releases: Releases, live: str, changes: int, count: int) -> None:
    """`live` alone may write, the ledger says so once, its row has every write, and vacuum is on again."""
    ledger = releases.environment.ledger
    entries = ledger.entries()
    assert ledger.pointer().digest == releases.locks[live].digest
    assert len([entry for entry in entries if entry.kind == "live"]) == changes
    assert ledger.verify() == len(entries)
    assert write(releases, live) == count + 1
    for binding in ledger.bindings():
        if binding.digest != releases.locks[live].digest:
            with (
                releases.connect(binding.release) as conn,
                pytest.raises(psycopg.errors.InsufficientPrivilege),
            ):
                conn.execute("UPDATE users SET count = 0")
    with ledger.connect() as conn:
        off = "SELECT count(*) FROM pg_class WHERE 'autovacuum_enabled=off' = ANY(reloptions)"
        assert conn.execute(off.encode()).fetchone() == (0,)
    assert releases.traffic.current == releases.bind(live).service_port


def test_a_handover_killed_on_its_way_converges(releases: Releases) -> None:
    releases.deploy("v0.0.2")
    changes, count, statement = 2, 1, 1 - STRIDE_HANDOVER
    killed = True
    while killed:
        statement += STRIDE_HANDOVER
        target = "v0.0.1" if releases.traffic.current == 4001 else "v0.0.2"
        killed = run_and_kill(lambda tag=target: releases.make_live(tag), statement)  # type: ignore[misc]
        releases.make_live(target)
        changes += 1
        assert_sound(releases, target, changes, count)
        count += 1
    assert statement > 40


def test_after_a_kill_the_router_is_led_to_what_is_live_though_nobody_repeats_the_command(
    releases: Releases,
) -> None:
    releases.deploy("v0.0.2")
    ledger, traffic = releases.environment.ledger, releases.traffic
    killed, statement, count, led = True, 1, 1, 0
    with ledger.connect() as conn:
        while killed:
            target = "v0.0.1" if traffic.current == releases.bind("v0.0.2").service_port else "v0.0.2"
            killed = run_and_kill(lambda tag=target: releases.make_live(tag), statement)  # type: ignore[misc]
            led += set_right(conn, "local", traffic)
            live = ledger.lock(ledger.pointer().digest or "").release
            assert traffic.current == releases.bind(live).service_port
            assert not set_right(conn, "local", traffic)
            count += 1
            assert write(releases, live) == count
            statement += STRIDE_HANDOVER
    assert led > 3  # the last statements come after the commit


def test_the_router_is_not_led_while_a_command_is_about_to_move_what_is_live(releases: Releases) -> None:
    ledger, traffic = releases.environment.ledger, releases.traffic
    traffic.point(1)
    holder = Holder.this_process("ann")
    with (
        Lease.acquire(releases.conninfo, "local", holder) as lease,
        ledger.connect() as conn,
        ledger.connect() as deployer,
    ):
        with control_transaction(deployer, lease.token):
            assert not set_right(conn, "local", traffic)
        with deployer.transaction():
            lock_pointer(deployer, "local")
            assert not set_right(conn, "local", traffic)
        assert traffic.current == 1
        assert set_right(conn, "local", traffic)
    assert traffic.current == releases.bind("v0.0.1").service_port


def test_a_deploy_killed_on_its_way_converges(releases: Releases) -> None:
    changes, count = 1, 1
    killed, statement = True, 3
    while killed:
        tag = add(releases, 10 + changes)
        killed = run_and_kill(lambda tag=tag: releases.deploy(tag), statement)  # type: ignore[misc]
        releases.deploy(tag)
        changes += 1
        assert_sound(releases, tag, changes, count)
        count += 1
        statement += STRIDE_DEPLOY
    assert statement > 60
