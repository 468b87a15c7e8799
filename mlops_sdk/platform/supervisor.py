"""The supervisor of an environment: programs are applied, watched, restarted and removed.

One supervisord an environment, reached by a unix socket that only its owner may open. Calls are safe
from several processes at once. After a kill of anything, the next call converges: supervisord's
children end with it, and no program starts while a process of its former self is left.
Must not know which programs an environment has: `programs` does.
"""

import time
from dataclasses import dataclass
from pathlib import Path

from mlops_sdk.errors import DeadlineError, MlopsError, NotFoundError, PolicyError, UnreachableError
from mlops_sdk.platform.ports import listens, who_listens
from mlops_sdk.platform.processes import end_marked, marked_processes
from mlops_sdk.platform.program import Program
from mlops_sdk.platform.readiness import is_ready
from mlops_sdk.platform.supervisor_files import SupervisorFiles
from mlops_sdk.platform.supervisor_rpc import ProcessInfo, SupervisorRpc
from mlops_sdk.platform.supervisor_start import start_daemon

RUNNING = "RUNNING"
DOWN = "DOWN"
"""State of an applied program while supervisord itself does not run."""

# supervisord says STARTING for the first second, also of a program that answers already.
_UP = frozenset({RUNNING, "STARTING"})
_DAEMON = "supervisord"
_DAEMON_START_TIMEOUT_S = 15.0
_ORPHAN_PATIENCE_S = 2.0
_ORPHAN_GRACE_S = 30.0
_POLL_S = 0.1
_FAILED_STARTS = 3


@dataclass(frozen=True)
class ProgramStatus:
    """An applied program: `state` as supervisord names it, or DOWN; `pid` is set while it runs."""

    name: str
    state: str
    pid: int | None
    uptime_s: float | None
    description: str

    @property
    def running(self) -> bool:
        """Whether its process is there; that it answers is `Supervisor.wait_ready`'s to say."""
        return self.state in _UP


class Supervisor:
    """The programs of one environment's folder (`.mlops/<environment>`)."""

    def __init__(self, environment_folder: Path) -> None:
        self.environment_folder = environment_folder.resolve()
        self._files = SupervisorFiles(self.environment_folder)

    # --- what runs ---------------------------------------------------------------------------

    def status(self, name: str) -> ProgramStatus | None:
        """How `name` is, or None if no such program was applied."""
        return self.statuses().get(name)

    def statuses(self) -> dict[str, ProgramStatus]:
        """How every applied program is. Raises UnreachableError when supervisord is there but silent."""
        known = self._rpc().processes() if self.is_alive() else {}
        return {name: _status(name, known.get(name)) for name in self._files.applied()}

    def is_alive(self) -> bool:
        """Whether supervisord runs. Raises UnreachableError when it is there but does not answer."""
        try:
            self._rpc().pid()
        except UnreachableError:
            if marked_processes(self._files.mark_of(_DAEMON)):
                raise
            return False
        return True

    def is_current(self, program: Program) -> bool:
        """Whether `program`, exactly so and with the present content of its env files, is running."""
        if self._files.saved(program.name) != self._files.document(program):
            return False
        status = self.status(program.name)
        return status is not None and status.running

    def log_tail(self, name: str) -> str:
        """The last lines of the program's log, at most 4 KB."""
        return self._files.log_tail(name)

    def pids(self) -> list[int]:
        """Pids of every process that belongs to the environment, supervisord's too."""
        return [process.pid for process in marked_processes(self._files.mark_of(""))]

    # --- changes -----------------------------------------------------------------------------

    def ensure_running(self) -> None:
        """Start supervisord unless it runs; a dead one is replaced after its children are gone.

        Starts no program. Raises DeadlineError if it does not come up, or something does not end.
        """
        with self._files.only_one():
            self._ensure_daemon()

    def apply(self, program: Program) -> None:
        """Let `program` run exactly as given, and wait until it is ready; others keep their pids.

        A running program of the same definition is left alone. Raises PolicyError when its port is
        taken, NotFoundError for a missing env file, MlopsError or DeadlineError with the last lines of
        its log when it does not become ready in `start_timeout_s`.
        """
        document = self._files.document(program)
        with self._files.only_one():
            self._ensure_daemon()
            info = self._rpc().process(program.name)
            if info is None or self._files.saved(program.name) != document:
                self._replace(program, document, known=info is not None)
                info = None
            if info is None or info.state not in _UP | {"BACKOFF"}:
                end_marked(self._files.mark_of(program.name), patience_s=0.0)
                _refuse_taken_port(program)
                self._rpc().start(program.name)
        self.wait_ready(program)

    def start_all(self) -> None:
        """Start every applied program in the order of first application, each once the last is ready."""
        for program in self._files.programs():
            self.apply(program)

    def remove(self, name: str) -> None:
        """Stop `name` and forget it; nothing happens if it is not there."""
        with self._files.only_one():
            program = self._files.applied().get(name)
            self._files.discard(name)
            self._files.write_config()
            if self.is_alive() and self._rpc().process(name) is not None:
                self._forget(name, program.stop_timeout_s if program else 10.0)
            end_marked(self._files.mark_of(name), patience_s=0.0)

    def stop(self, name: str) -> None:
        """Stop `name` but keep it applied: the next `apply` starts it again."""
        with self._files.only_one():
            program = self._files.applied().get(name)
            if program and self.is_alive() and self._rpc().process(name) is not None:
                self._rpc().stop(name, wait=True, timeout_s=program.stop_timeout_s)

    def shutdown(self, *, timeout_s: float = 60.0) -> None:
        """Stop every program, databases last, and supervisord; whatever is left after that is ended.

        The programs stay applied. Raises DeadlineError with the pids that do not end.
        """
        with self._files.only_one():
            if self.is_alive():
                databases = {
                    program.name
                    for program in self._files.programs()
                    if program.readiness and program.readiness.kind == "postgres"
                }
                self._stop_all(databases, timeout_s)
                self._rpc().shutdown()
            end_marked(self._files.mark_of(""), patience_s=timeout_s)
            self._files.remove_outer_run_folder()

    def wait_ready(self, program: Program) -> None:
        """Wait until the applied `program` answers.

        Raises MlopsError when it ended or gave up, PolicyError when another program has its port,
        DeadlineError after `start_timeout_s`; each with the last lines of its log.
        """
        deadline = time.monotonic() + program.start_timeout_s
        ended_at: set[int] = set()
        while True:
            info = self._rpc().process(program.name)
            if info is None:
                raise NotFoundError(f"program {program.name} was removed while it started")
            if _answers(program, info):
                _refuse_taken_port(program, own=self._files.mark_of(program.name))
                return
            if info.state == "BACKOFF":
                ended_at.add(info.stopped_at_s)
            if info.state in {"FATAL", "EXITED"} or len(ended_at) >= _FAILED_STARTS:
                _refuse_taken_port(program, own=self._files.mark_of(program.name))
                raise MlopsError(
                    f"program {program.name} does not start: {info.description}", **self._hint(program)
                )
            if time.monotonic() > deadline:
                raise DeadlineError(
                    f"program {program.name} ({info.state}) was not ready in {program.start_timeout_s:g} s",
                    **self._hint(program),
                )
            time.sleep(_POLL_S)

    # --- supervisord -------------------------------------------------------------------------

    def _rpc(self) -> SupervisorRpc:
        return SupervisorRpc(self._files.socket())

    def _ensure_daemon(self) -> None:
        try:
            if self.is_alive():
                return
        except UnreachableError:
            # It is there but its socket is not, or it hangs: its children end with it.
            end_marked(self._files.mark_of(_DAEMON), patience_s=0.0, grace_s=_ORPHAN_GRACE_S)
        # The kernel told its children to stop; theirs know nothing of it yet.
        end_marked(self._files.mark_of(""), patience_s=_ORPHAN_PATIENCE_S, grace_s=_ORPHAN_GRACE_S)
        self._files.socket().unlink(missing_ok=True)
        self._files.write_config()
        self._start_daemon()

    def _start_daemon(self) -> None:
        start_daemon(self._files.folder, self._files.mark_of(_DAEMON), log=self._files.log(_DAEMON, ".out"))
        deadline = time.monotonic() + _DAEMON_START_TIMEOUT_S
        while True:
            try:
                self._rpc().pid()
                return
            except UnreachableError as error:
                if time.monotonic() > deadline:
                    words = self._files.log_tail(_DAEMON, ".out")
                    raise DeadlineError(f"supervisord does not start: {words}") from error
                time.sleep(_POLL_S / 2)

    def _replace(self, program: Program, document: str, *, known: bool) -> None:
        if known:
            self._forget(program.name, program.stop_timeout_s)
        self._files.save(program.name, document)
        self._files.write_config()
        rpc = self._rpc()
        rpc.reload()
        rpc.add(program.name)

    def _forget(self, name: str, stop_timeout_s: float) -> None:
        rpc = self._rpc()
        rpc.stop(name, wait=True, timeout_s=stop_timeout_s)
        rpc.forget(name)
        rpc.reload()

    def _stop_all(self, databases: set[str], timeout_s: float) -> None:
        """Everything but databases at once, so that no program ends with complaints about a lost one."""
        rpc = self._rpc()
        others = [name for name in rpc.processes() if name not in databases]
        for name in others:
            rpc.stop(name, wait=False)
        deadline = time.monotonic() + timeout_s
        stopped = {"STOPPED", "EXITED", "FATAL"}
        while time.monotonic() < deadline:
            states = rpc.processes()
            if all(states[name].state in stopped for name in others if name in states):
                return
            time.sleep(_POLL_S)

    # --- words -------------------------------------------------------------------------------

    def _hint(self, program: Program) -> dict[str, str]:
        lines = self._files.log_tail(program.name).splitlines()[-15:]
        remedy = "It wrote last:\n    " + "\n    ".join(lines) if lines else "It wrote nothing to its log."
        return {"where": str(self._files.log(program.name)), "remedy": remedy}


def _answers(program: Program, info: ProcessInfo) -> bool:
    if program.readiness is None:
        return info.state == RUNNING
    return info.state in _UP and is_ready(program.readiness)


def _refuse_taken_port(program: Program, *, own: str | None = None) -> None:
    """Raise PolicyError when somebody listens on the program's port, and nobody who carries the mark `own` does.

    A child has its parent's socket until it closes it, and the system names only one of them: so who carries the
    mark is asked.
    """
    if program.readiness is None:
        return
    port = program.readiness.port
    if own is not None and any(listens(process, port) for process in marked_processes(own)):
        return
    listener = who_listens(port)
    if listener is None or (own is not None and listener.pid is None):
        return
    raise PolicyError(
        f"port {port} of program {program.name} is in use by {listener}",
        where=f"127.0.0.1:{port}",
        remedy="Stop that process, or give the environment another port in its stack config.",
    )


def _status(name: str, info: ProcessInfo | None) -> ProgramStatus:
    if info is None:
        return ProgramStatus(name, DOWN, None, None, "supervisord does not run it")
    uptime_s = max(0.0, time.time() - info.started_at_s) if info.state == RUNNING else None
    return ProgramStatus(name, info.state, info.pid, uptime_s, info.description)
