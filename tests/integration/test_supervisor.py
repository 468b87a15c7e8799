"""supervisord under its supervisor: real processes, killed in every way."""

import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from mlops_sdk.errors import DeadlineError, InputError, MlopsError, NotFoundError, PolicyError
from mlops_sdk.platform.ports import is_free, who_listens
from mlops_sdk.platform.processes import mark_of
from mlops_sdk.platform.program import Program, Readiness
from mlops_sdk.platform.supervisor import Supervisor
from mlops_sdk.stack.ports import free_ports

WAIT_S = 20.0


def web(name: str, port: int, **changes: object) -> Program:
    """Python's own web server, which shows the folder it runs in."""
    settings: dict[str, object] = {
        "name": name,
        "command": (sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port)),
        "directory": Path("/"),
        "readiness": Readiness.http(port),
    }
    return Program(**{**settings, **changes})  # type: ignore[arg-type]


def sleeper(name: str, **changes: object) -> Program:
    settings: dict[str, object] = {"name": name, "command": ("sleep", "1000"), "directory": Path("/")}
    return Program(**{**settings, **changes})  # type: ignore[arg-type]


def eventually(holds: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def pid_of(supervisor: Supervisor, name: str) -> int:
    status = supervisor.status(name)
    assert status is not None and status.pid is not None
    return status.pid


def is_there(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def daemon_pid(supervisor: Supervisor) -> int:
    return next(pid for pid in supervisor.pids() if (mark_of(pid) or "").endswith("/supervisord"))


@contextmanager
def listener() -> Iterator[int]:
    """A port on which this test process listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield int(server.getsockname()[1])


def test_an_applied_program_answers_and_a_second_apply_leaves_it_alone(supervisor: Supervisor) -> None:
    (port,) = free_ports(1)
    supervisor.apply(web("web", port))
    assert supervisor.is_current(web("web", port))
    pid = pid_of(supervisor, "web")
    supervisor.apply(web("web", port))
    assert pid_of(supervisor, "web") == pid


def test_a_changed_program_is_replaced_and_others_keep_their_pids(supervisor: Supervisor) -> None:
    port, other = free_ports(2)
    supervisor.apply(web("web", port))
    supervisor.apply(web("other", other))
    before = pid_of(supervisor, "web"), pid_of(supervisor, "other")
    changed = web("web", port, environment={"COLOUR": "100% ; # blue"})
    assert not supervisor.is_current(changed)
    supervisor.apply(changed)
    assert psutil.Process(pid_of(supervisor, "web")).environ()["COLOUR"] == "100% ; # blue"
    assert pid_of(supervisor, "web") != before[0]
    assert pid_of(supervisor, "other") == before[1]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere each of the processes is named")
def test_a_port_that_a_process_without_the_mark_shares_with_one_that_has_it_is_the_program_s_own(
    supervisor: Supervisor,
) -> None:
    """As a child that a server has just forked: it is the one that psutil names."""
    (port,) = free_ports(1)
    script = (
        "import os, socket, sys, time\n"
        f"server = socket.create_server(('127.0.0.1', {port}))\n"
        "server.set_inheritable(True)\n"
        "if os.fork() == 0:\n"
        "    os.execve('/bin/sleep', ['sleep', '1000'], {})\n"
        "time.sleep(1000)\n"
    )
    program = sleeper("shared", command=(sys.executable, "-c", script), readiness=Readiness("tcp", port))
    supervisor.apply(program)
    (child,) = psutil.Process(pid_of(supervisor, "shared")).children()
    eventually(lambda: mark_of(child.pid) is None, "the child is without the mark")
    found = who_listens(port)
    assert found is not None and found.pid == child.pid
    supervisor.wait_ready(program)
    child.kill()


def test_a_removed_program_is_gone_and_removing_it_again_does_nothing(supervisor: Supervisor) -> None:
    (port,) = free_ports(1)
    supervisor.apply(web("web", port))
    supervisor.remove("web")
    assert supervisor.status("web") is None
    assert is_free(port)
    supervisor.remove("web")


def test_a_killed_child_is_started_again(supervisor: Supervisor) -> None:
    (port,) = free_ports(1)
    supervisor.apply(web("web", port))
    pid = pid_of(supervisor, "web")
    os.kill(pid, signal.SIGKILL)

    def another_runs() -> bool:
        status = supervisor.status("web")
        return status is not None and status.running and status.pid != pid

    eventually(another_runs, "it is back")
    supervisor.wait_ready(web("web", port))


def test_children_that_a_killed_program_left_behind_end_before_it_starts_again(
    supervisor: Supervisor,
) -> None:
    parent = sleeper("parent", command=("sh", "-c", "sleep 1000 & sleep 1000"))
    supervisor.apply(parent)
    pid = pid_of(supervisor, "parent")
    children = [child.pid for child in psutil.Process(pid).children()]
    os.kill(pid, signal.SIGKILL)
    assert children
    eventually(lambda: not any(is_there(child) for child in children), "the children ended")
    eventually(lambda: supervisor.is_current(parent), "the program is back")


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal")
def test_a_killed_supervisor_takes_its_children_along_and_is_replaced(supervisor: Supervisor) -> None:
    (port,) = free_ports(1)
    supervisor.apply(web("web", port))
    supervisor.apply(sleeper("parent", command=("sh", "-c", "sleep 1000 & wait")))
    pids = supervisor.pids()
    os.kill(daemon_pid(supervisor), signal.SIGKILL)
    eventually(lambda: not is_there(pids[0]), "supervisord is gone")
    supervisor.ensure_running()
    assert not any(is_there(pid) for pid in pids)
    status = supervisor.status("web")
    assert status is not None and not status.running
    supervisor.apply(web("web", port))
    assert supervisor.is_current(web("web", port))


def test_a_supervisor_whose_socket_was_removed_is_replaced(supervisor: Supervisor) -> None:
    (port,) = free_ports(1)
    supervisor.apply(web("web", port))
    before = daemon_pid(supervisor)
    supervisor._files.socket().unlink()
    supervisor.apply(web("web", port))
    assert daemon_pid(supervisor) != before
    assert supervisor.is_current(web("web", port))


def test_two_applies_at_once_start_one_process_each(supervisor: Supervisor) -> None:
    ports = free_ports(2)
    programs = [web("a", ports[0]), web("b", ports[1])] * 3
    others = [Supervisor(supervisor.environment_folder) for _ in programs]
    with ThreadPoolExecutor(6) as pool:
        for done in [pool.submit(o.apply, p) for o, p in zip(others, programs, strict=True)]:
            done.result()
    daemons = [pid for pid in supervisor.pids() if (mark_of(pid) or "").endswith("/supervisord")]
    assert len(daemons) == 1
    assert len(supervisor.pids()) == 3


def test_a_foreign_listener_is_named_with_port_and_program(supervisor: Supervisor) -> None:
    with (
        listener() as port,
        pytest.raises(PolicyError, match=rf"port {port} of program web .*pid {os.getpid()}"),
    ):
        supervisor.apply(web("web", port))


def test_a_program_that_ends_at_once_is_told_with_its_last_lines(supervisor: Supervisor) -> None:
    broken = sleeper("broken", command=("sh", "-c", "echo no such galaxy; exit 3"))
    with pytest.raises(MlopsError, match="broken does not start") as caught:
        supervisor.apply(broken)
    assert "no such galaxy" in str(caught.value)


def test_a_command_that_does_not_exist_is_told(supervisor: Supervisor) -> None:
    with pytest.raises(MlopsError, match="cannot start no-such-command"):
        supervisor.apply(sleeper("missing", command=("no-such-command",)))


def test_a_program_that_never_answers_runs_out_of_time(supervisor: Supervisor) -> None:
    (port,) = free_ports(1)
    with pytest.raises(DeadlineError, match="silent"):
        supervisor.apply(sleeper("silent", readiness=Readiness.tcp(port), start_timeout_s=2.0))


def test_secrets_come_by_env_files_and_a_changed_file_makes_the_program_stale(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    secret = tmp_path / "secret.env"
    secret.write_text('# a comment\nTOKEN="a b\\"c"\nPLAIN=x=y\n')
    program = sleeper("keeper", env_files=(secret,))
    supervisor.apply(program)
    process = psutil.Process(pid_of(supervisor, "keeper"))
    assert process.environ()["TOKEN"] == 'a b"c'
    assert process.environ()["PLAIN"] == "x=y"
    assert "a b" not in " ".join(process.cmdline())
    secret.write_text("TOKEN=new\n")
    assert not supervisor.is_current(program)
    supervisor.apply(program)
    assert psutil.Process(pid_of(supervisor, "keeper")).environ()["TOKEN"] == "new"


def test_a_missing_env_file_is_named(supervisor: Supervisor, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"absent\.env"):
        supervisor.apply(sleeper("keeper", env_files=(tmp_path / "absent.env",)))


def test_programs_do_not_see_the_variables_of_who_applied_them(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "not for children")
    supervisor.apply(sleeper("quiet"))
    assert "PULUMI_CONFIG_PASSPHRASE" not in psutil.Process(pid_of(supervisor, "quiet")).environ()


def test_a_shutdown_leaves_nothing_and_start_all_brings_everything_back(supervisor: Supervisor) -> None:
    ports = free_ports(2)
    for name, port in zip(("zebra", "ant"), ports, strict=True):
        supervisor.apply(web(name, port))
    supervisor.shutdown()
    assert supervisor.pids() == []
    assert {status.state for status in supervisor.statuses().values()} == {"DOWN"}
    supervisor.start_all()
    assert all(status.running for status in supervisor.statuses().values())


def test_sockets_and_logs_work_below_a_deep_and_strangely_named_folder(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["a long name, 100% ; # [of] a 'folder'"] * 6)
    supervisor = Supervisor(deep)
    (port,) = free_ports(1)
    try:
        supervisor.apply(web("web", port, directory=deep))
        assert (deep / "logs" / "web.log").exists()
    finally:
        supervisor.shutdown()
    assert supervisor.pids() == []


@pytest.mark.parametrize("name", ["", "Upper", "a b", "../x", "a" * 64, "a;b"])
def test_a_name_that_cannot_be_a_file_is_refused(name: str) -> None:
    with pytest.raises(InputError):
        sleeper(name)
