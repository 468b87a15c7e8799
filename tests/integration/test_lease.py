"""The lease in a real Postgres: one holder, quick succession of the dead, no write by the late."""

import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from mlops_sdk.errors import LeaseHeldError
from mlops_sdk.ledger.database import LeaseLostError, control_transaction
from mlops_sdk.ledger.lease import Holder, Lease, break_lease, current, require_unheld
from tests.support.environment import Environment

ELSEWHERE = Holder("bob", "another-host", 4711, datetime(2026, 1, 1, tzinfo=UTC))


def test_a_second_deployer_is_told_who_holds_the_lease(environment: Environment) -> None:
    with (
        Lease.acquire(environment.conninfo(), "local", Holder.this_process("ann")),
        environment.ledger.connect() as conn,
    ):
        with pytest.raises(LeaseHeldError) as refused:
            Lease.acquire(environment.conninfo(), "local", ELSEWHERE)
        held = current(conn, "local")
    assert held is not None
    since, until = (f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" for moment in (held.since, held.until))
    assert str(refused.value) == (
        f"local: ann on {socket.gethostname()} (pid {os.getpid()}) deploys since {since},"
        f" with the lease until {until}\n  wait, or end it with `mlops lease break local`"
    )
    with Lease.acquire(environment.conninfo(), "local", ELSEWHERE) as next_one:
        assert next_one.predecessor is None


def test_a_dead_holder_on_this_host_is_succeeded_at_once(environment: Environment) -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    import psutil

    started_at = datetime.fromtimestamp(psutil.Process(child.pid).create_time(), UTC)
    dead = replace(Holder.this_process("ann"), pid=child.pid, started_at=started_at, process_group=child.pid)
    first = Lease.acquire(environment.conninfo(), "local", dead)
    with pytest.raises(LeaseHeldError):
        Lease.acquire(environment.conninfo(), "local", ELSEWHERE)
    child.send_signal(signal.SIGKILL)
    child.wait()
    with Lease.acquire(environment.conninfo(), "local", ELSEWHERE) as second:
        assert second.predecessor is not None
        assert second.predecessor.process_group == child.pid
        assert second.token.epoch == first.token.epoch + 1
    first.release()


def test_a_reused_pid_is_not_taken_for_the_holder() -> None:
    here = Holder.this_process()
    assert not here.is_dead()
    assert replace(here, started_at=here.started_at - timedelta(hours=1)).is_dead()
    assert not replace(here, host="another-host", pid=2**22).is_dead()


def test_a_late_holder_cannot_write(environment: Environment) -> None:
    late = Lease.acquire(environment.conninfo(), "local", ELSEWHERE, duration_s=0.2)
    late._stop.set()  # it hangs: nothing renews any more
    time.sleep(0.3)
    with Lease.acquire(environment.conninfo(), "local", Holder.this_process()) as successor:
        with pytest.raises(LeaseLostError):
            environment.ledger.record("note", lease=late.token)
        environment.ledger.record("note", lease=successor.token)
    assert len(environment.ledger.entries()) == 1


def test_a_holder_that_hangs_in_a_transaction_is_ended(environment: Environment) -> None:
    late = Lease.acquire(environment.conninfo(), "local", ELSEWHERE, duration_s=0.3)
    late._stop.set()
    with (
        environment.ledger.connect() as conn,
        pytest.raises(psycopg.OperationalError),
        control_transaction(conn, late.token),
    ):
        time.sleep(0.4)
        Lease.acquire(environment.conninfo(), "local", Holder.this_process()).release()
        conn.execute("SELECT 1")


def test_a_living_holder_keeps_its_lease_beyond_one_duration(environment: Environment) -> None:
    with Lease.acquire(environment.conninfo(), "local", Holder.this_process(), duration_s=0.4) as lease:
        time.sleep(1)
        lease.check()
        environment.ledger.record("note", lease=lease.token)


def test_a_broken_lease_is_void(environment: Environment) -> None:
    lease = Lease.acquire(environment.conninfo(), "local", Holder.this_process("ann"), duration_s=1)
    broken = break_lease(environment.conninfo(), "local")
    assert broken is not None
    assert broken.who == "ann"
    with pytest.raises(LeaseLostError):
        environment.ledger.record("note", lease=lease.token)
    assert break_lease(environment.conninfo(), "local") is None
    lease.release()


def test_who_has_no_lease_is_refused_while_another_deploys(environment: Environment) -> None:
    with environment.ledger.connect() as conn:
        require_unheld(conn, "local")
        assert current(conn, "local") is None
        with (
            Lease.acquire(environment.conninfo(), "local", Holder.this_process()),
            pytest.raises(LeaseHeldError),
        ):
            require_unheld(conn, "local")
