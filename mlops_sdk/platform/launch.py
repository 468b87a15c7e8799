"""Start one command with the variables of .env files, as a child that ends with its parent.

    python3 -P launch.py [--env-file FILE]... [--user USER] [--cd DIR] [--stop-with-parent SIGNAL] -- CMD...
    python3 -P launch.py --program FILE

Values of the process environment win over those of the files, later files win over earlier ones.
Secrets reach the command by its environment only: never by arguments, which everybody can read.

This module uses nothing but the standard library, so that it starts in a few hundredths of a
second, and runs as a plain file. It must not know any program: `programs` names them.
"""

import argparse
import ctypes
import json
import os
import pwd
import shlex
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

MARK = "MLOPS_SUPERVISED"
"""Variable that names the program which a process belongs to, inherited by all of its children: by
it, what a killed program left behind is found and ended before the program starts again."""

SUPERVISOR_PID = "MLOPS_SUPERVISOR_PID"
"""Variable by which supervisord tells its commands its pid: they notice that it died before they
could ask the kernel for a signal."""

_PR_SET_PDEATHSIG = 1
_WATCH_INTERVAL_S = 0.5


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Become the command, or end with 2 for a wrong call and 127 for a command that does not start."""
    options = _parse(sys.argv[1:] if arguments is None else arguments)
    # A command that is launched by a supervised one has that one as its parent.
    supervisor = os.environ.pop(SUPERVISOR_PID, "") if options.program else ""
    parent = int(supervisor or os.getppid())
    environment = dict(os.environ)
    for file in reversed(options.env_file):
        environment = {**read_env_file(Path(file)), **environment}
    if options.mark:
        environment[MARK] = options.mark
        end_leftovers(options.mark)
    if options.user:
        become(options.user)
        environment.update(HOME=pwd.getpwnam(options.user).pw_dir, USER=options.user)
    if options.cd:
        try:
            os.chdir(options.cd)
        except OSError as error:
            _refuse(f"cannot run in {options.cd}: {error.strerror}", code=127)
    try:
        if options.stop_with_parent:
            run_with_parent(
                options.command, environment, _signal_number(options.stop_with_parent), parent=parent
            )
        os.execvpe(options.command[0], options.command, environment)  # noqa: S606
    except OSError as error:
        _refuse(f"cannot start {options.command[0]}: {error.strerror}", code=127)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="launch.py", description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--program", help="JSON file with the options below as keys; nothing else is read then"
    )
    parser.add_argument("--env-file", action="append", default=[])
    parser.add_argument("--user", help="account to run as; needs root")
    parser.add_argument("--cd", help="folder to run in")
    parser.add_argument("--stop-with-parent", metavar="SIGNAL", help="e.g. TERM: sent when the parent dies")
    parser.add_argument(
        "--mark", help="end what an earlier command with this mark left behind, then carry it"
    )
    parser.add_argument("command", nargs="*")
    options = parser.parse_args(arguments)
    if options.program:
        saved = json.loads(Path(options.program).read_text(encoding="utf-8"))
        options.env_file = saved["env_files"]
        options.user = saved["user"]
        options.cd = saved["directory"]
        options.stop_with_parent = saved["stop_signal"]
        options.mark = saved["mark"]
        options.command = saved["command"]
        os.environ.update(saved["environment"])
    if not options.command:
        parser.error("a command is missing after --")
    return options


def read_env_file(path: Path) -> dict[str, str]:
    """Variables of a .env file: KEY=VALUE lines with a shell's quoting, as `runtime.env_file` writes them.

    `#` lines are comments. Ends the process with 2 where the file is missing or a line is not of this form.
    """
    values: dict[str, str] = {}
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        _refuse(f"{path}: cannot be read: {error.strerror}", code=2)
    # Not splitlines(): that also splits at characters which a value may hold.
    for number, line in enumerate(text.split("\n"), start=1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        key, separator, value = stripped.partition("=")
        if not separator or not key.strip():
            _refuse(f"{path}:{number}: not of the form KEY=VALUE", code=2)
        values[key.strip()] = _unquote(value, path, number)
    return values


def _unquote(value: str, path: Path, line: int) -> str:
    # The value itself stays out of the messages: it may be a secret.
    try:
        words = shlex.split(value)
    except ValueError:
        _refuse(f"{path}:{line}: a quote is not closed", code=2)
    if len(words) > 1:
        _refuse(f"{path}:{line}: a value with spaces needs quotes", code=2)
    return words[0] if words else ""


def become(user: str) -> None:
    """Drop from root to `user` for good: groups first, because afterwards it is not allowed."""
    account = pwd.getpwnam(user)
    if os.geteuid() == account.pw_uid:
        return
    os.setgroups([])
    os.setgid(account.pw_gid)
    os.setuid(account.pw_uid)


def run_with_parent(
    command: Sequence[str], environment: Mapping[str, str], number: int, *, parent: int
) -> NoReturn:
    """Become `command`, which gets signal `number` when the process `parent` dies, now or later.

    `parent` is os.getppid() as it was when this process began. Call it after `become`: the kernel
    forgets the wish when the user changes. Raises OSError when the command cannot be started.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0) != 0:
            _refuse(f"prctl: {os.strerror(ctypes.get_errno())}", code=127)
        _stop_if_orphan(parent)
        os.execvpe(command[0], list(command), dict(environment))  # noqa: S606
    _watch(parent, command, environment, number)


def _stop_if_orphan(parent: int) -> None:
    # The parent may have died before prctl was called, and then no signal comes.
    if os.getppid() != parent:
        sys.exit(0)


def _watch(parent: int, command: Sequence[str], environment: Mapping[str, str], number: int) -> NoReturn:
    """Where the kernel has no parent-death signal: stay, pass signals on, and look for the parent."""
    child = os.posix_spawnp(command[0], list(command), dict(environment))

    def forward(received: int, _frame: FrameType | None) -> None:
        os.kill(child, received)

    for name in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(name, forward)
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            sys.exit(os.waitstatus_to_exitcode(status) & 0xFF)
        if os.getppid() != parent:
            os.kill(child, number)
            parent = os.getppid()
        time.sleep(_WATCH_INTERVAL_S)


def end_leftovers(mark: str, *, timeout_s: float = 10.0) -> None:
    """End every other process that carries `mark`: TERM first, KILL after `timeout_s` seconds."""
    deadline = time.monotonic() + timeout_s
    wanted = signal.SIGTERM
    while others := marked(mark):
        if time.monotonic() > deadline:
            wanted = signal.SIGKILL
        for pid in others:
            try:
                os.kill(pid, wanted)
            except (ProcessLookupError, PermissionError):
                continue
        if wanted == signal.SIGKILL and time.monotonic() > deadline + timeout_s:
            _refuse(f"processes {others} of an earlier run do not end", code=127)
        time.sleep(0.05)


def marked(mark: str) -> list[int]:
    """Pids of the other processes of this machine that carry `mark` (found on Linux only)."""
    entry = f"{MARK}={mark}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            variables = (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if entry in variables and int(folder.name) != os.getpid():
            found.append(int(folder.name))
    return found


def _signal_number(name: str) -> int:
    try:
        return signal.Signals[f"SIG{name.removeprefix('SIG')}"]
    except KeyError:
        _refuse(f"{name} is not a signal", code=2)


def _refuse(what: str, *, code: int) -> NoReturn:
    print(f"launch: {what}", file=sys.stderr, flush=True)  # noqa: T201
    sys.exit(code)


if __name__ == "__main__":
    main()
