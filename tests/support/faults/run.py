"""Run an operation, with a fault before one of its statements, then again to its end.

The process under the fault is a fork of this one, so that a run costs milliseconds.
"""

import os
import pickle
import select
import signal
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import psycopg
from psycopg import sql

from mlops_sdk.errors import MlopsError
from mlops_sdk.ledger.bindings import require_binding
from mlops_sdk.ledger.lease import Holder, Lease, break_lease
from mlops_sdk.ledger.store import read_pointer
from mlops_sdk.state import carry
from tests.support.faults.end_state import EndState, differences, end_state
from tests.support.faults.operations import Operation
from tests.support.faults.situation import Situation
from tests.support.faults.statements import Statement, watch
from tests.support.faults.tables import changes
from tests.support.releases import Releases

Fault = Literal["killed", "stopped", "crashed", "server killed"]
FAULTS: tuple[Fault, ...] = ("killed", "stopped", "crashed", "server killed")
_LEASE_S = 60.0
_PATIENCE_S = 60.0


def record(situation: Situation, operation: Operation) -> tuple[list[Statement], EndState]:
    """The statements of the operation, in order, and the end that it comes to without a fault."""
    with situation.copy() as releases:
        statements: list[Statement] = []
        child = _Child(releases, operation, lambda statement, _: statements.append(statement), statements)
        statements = child.result()
        return statements, _bring_to_end(releases, operation)


def run_with_fault(situation: Situation, operation: Operation, at: Statement, fault: Fault) -> EndState:
    """The end that the operation comes to when `fault` happens before statement `at`."""
    with situation.copy() as releases:
        situation.server.sync(on=fault == "server killed")
        postmaster = situation.server.pid

        def hook(statement: Statement, conn: psycopg.Connection[Any]) -> None:
            if statement.number == at.number:
                assert statement.site == at.site, f"{statement} came instead of {at}"
                _inject(fault, conn, postmaster)

        with psycopg.connect(situation.server.server.conninfo(), autocommit=True) as witness:
            child = _Child(releases, operation, hook)
            child.wait_for(fault)
            if fault == "crashed":
                # Until the server has seen it, it answers whoever comes, to end them a moment later.
                _await_end_of(witness)
        situation.server.start()
        found = _bring_to_end(releases, operation, broken=fault == "stopped")
        if fault == "stopped":
            child.go_on()
            with psycopg.connect(releases.environment.admin.get_secret_value()) as admin:
                late = end_state(admin, releases.environment.app)
            assert not differences(late, found), (
                f"who was stopped before {at} changed something when it went on"
            )
        return found


def _await_end_of(witness: psycopg.Connection[Any]) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            witness.execute("SELECT pg_sleep(0.001)")
        except psycopg.OperationalError:
            return
        assert time.monotonic() < deadline, "the server went on although one of its processes had crashed"


def _inject(fault: Fault, conn: psycopg.Connection[Any], postmaster: int) -> None:
    match fault:
        case "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        case "stopped":
            os.kill(os.getpid(), signal.SIGSTOP)
        case "crashed":
            # A server process that dies so takes the others with it; Postgres then recovers by itself.
            os.kill(conn.info.backend_pid, signal.SIGKILL)
        case "server killed":
            os.kill(postmaster, signal.SIGKILL)


def _bring_to_end(releases: Releases, operation: Operation, *, broken: bool = False) -> EndState:
    """A successor takes the lease over and repeats the operation; then everything follows what is live."""
    with psycopg.connect(releases.environment.admin.get_secret_value(), autocommit=True) as admin:
        if broken:
            break_lease(releases.conninfo, "local")
        with Lease.acquire(releases.conninfo, "local", Holder.this_process(), _LEASE_S) as lease:
            _accepted_write(admin)
            # A builder that was stopped is replaced once its word has run out.
            admin.execute("SELECT pg_sleep_until(max(until)) FROM mlops.physical WHERE state = 'building'")
            operation.run(releases, lease.token)
        for tag in releases.locks:
            carry.catch_up(releases.conninfo, "local", releases.locks[tag].digest, small=1)
        live = read_pointer(admin, "local").digest
        assert live == releases.locks[operation.live].digest
        if releases.traffic.points:
            assert releases.traffic.current == require_binding(admin, "local", live).service_port
        return end_state(admin, releases.environment.app)


def _accepted_write(admin: psycopg.Connection[Any]) -> None:
    """What an application writes between the fault and the repetition, with the rights of the live release."""
    live = read_pointer(admin, "local").digest
    assert live is not None
    binding = require_binding(admin, "local", live)
    with admin.transaction():
        admin.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(binding.role)))
        admin.execute(sql.SQL("SET LOCAL search_path = {}").format(sql.Identifier(binding.pg_schema)))
        for statement in changes(1):
            admin.execute(statement.encode())


@dataclass
class _Outcome:
    value: Any
    error: str | None


class _Child:
    """A fork of this process that does the operation under a lease of its own."""

    def __init__(
        self,
        releases: Releases,
        operation: Operation,
        hook: Callable[[Statement, psycopg.Connection[Any]], None],
        value: Any = None,
    ) -> None:
        self._reader, writer = os.pipe()
        self._pid = os.fork()
        if self._pid:
            os.close(writer)
            return
        os.close(self._reader)
        error: str | None = None
        try:
            lease = Lease.acquire(releases.conninfo, "local", Holder.this_process(), _LEASE_S)
            with watch(hook):
                operation.run(releases, lease.token)
            lease.release()
        except (MlopsError, psycopg.Error) as caught:
            error = f"{type(caught).__name__}: {caught}"
        except BaseException:  # noqa: BLE001 - a fault of the test itself, for its report
            error = f"unexpected {traceback.format_exc()}"
        finally:
            with os.fdopen(writer, "wb") as stream:
                pickle.dump(_Outcome(value, error), stream)
            os._exit(0)

    def result(self) -> Any:
        """What it came to, without a fault."""
        outcome = self._finished()
        assert outcome is not None
        assert outcome.error is None, outcome.error
        return outcome.value

    def wait_for(self, fault: Fault) -> None:
        """Until it is dead, stopped, or has noticed that its server went away."""
        _, status = os.waitpid(self._pid, os.WUNTRACED)
        match fault:
            case "killed":
                assert os.WIFSIGNALED(status), self._outcome()
            case "stopped":
                assert os.WIFSTOPPED(status), self._outcome()
            case "crashed" | "server killed":
                outcome = self._outcome()
                assert outcome is not None
                # The child of a killed server may come to the end before it sees that its parent is gone.
                assert outcome.error is not None or fault == "server killed", "it did not notice"
                assert not (outcome.error or "").startswith("unexpected"), outcome.error

    def go_on(self) -> None:
        """Wake it up after it was stopped, and wait until it ends."""
        os.kill(self._pid, signal.SIGCONT)
        outcome = self._finished()
        assert outcome is not None
        assert not (outcome.error or "").startswith("unexpected"), outcome.error

    def _finished(self) -> _Outcome | None:
        """What it wrote until it closed the pipe: read at once, for a pipe that is full would stop it."""
        deadline = time.monotonic() + _PATIENCE_S
        data = b""
        while select.select([self._reader], [], [], max(0.0, deadline - time.monotonic()))[0]:
            part = os.read(self._reader, 1 << 16)
            if not part:
                os.waitpid(self._pid, 0)
                os.close(self._reader)
                return _outcome(data)
            data += part
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        raise AssertionError(f"the child did not end within {_PATIENCE_S} s")

    def _outcome(self) -> _Outcome | None:
        with os.fdopen(self._reader, "rb") as stream:
            return _outcome(stream.read())


def _outcome(data: bytes) -> _Outcome | None:
    return pickle.loads(data) if data else None  # noqa: S301 - of our own child
