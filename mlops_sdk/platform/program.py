"""What a supervised program is, and how supervisord is told of it. Pure.

Must not touch the file system or a process: `supervisor` does.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from mlops_sdk.errors import InputError

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")

LOG_BYTES = 5_000_000
"""Size at which a log is rotated; two older ones are kept, so that a program takes 15 MB at most."""

_START_RETRIES = 60
"""Failed starts until supervisord gives up. It waits one second longer each time, so a program whose
server comes back within half an hour needs nobody."""


@dataclass(frozen=True)
class Readiness:
    """When a program is ready: it answers on `port` of 127.0.0.1 in its own protocol.

    `path` and `status` count for http only.
    """

    kind: Literal["http", "tcp", "postgres"]
    port: int
    path: str = "/"
    status: int = 200

    @classmethod
    def http(cls, port: int, path: str = "/", status: int = 200) -> "Readiness":
        """Ready when GET `path` answers with `status`."""
        return cls("http", port, path, status)

    @classmethod
    def tcp(cls, port: int) -> "Readiness":
        """Ready when it accepts connections."""
        return cls("tcp", port)

    @classmethod
    def postgres(cls, port: int) -> "Readiness":
        """Ready when it asks for a password: a starting or stopping server says so instead."""
        return cls("postgres", port)


@dataclass(frozen=True)
class Program:
    """A command that runs until it is removed. Raises InputError for a name that cannot be a file's.

    `environment` holds no secrets: those stand in `env_files`, which are read at each start.
    Values of `environment` win over those of the files.
    """

    name: str
    command: tuple[str, ...]
    directory: Path
    env_files: tuple[Path, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None
    stop_signal: str = "TERM"
    stop_timeout_s: float = 15.0
    readiness: Readiness | None = None
    start_timeout_s: float = 60.0

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise InputError(
                f"{self.name!r} cannot name a program",
                remedy="Use lower case letters, digits, '-' and '_', 63 at most.",
            )
        if not self.command:
            raise InputError(f"program {self.name} has no command")


def program_document(program: Program, *, mark: str, env_file_digests: Sequence[str]) -> str:
    """JSON text that `launch.py --program` reads; it changes whenever the program has to start anew.

    The digests of the env files stand in it for that reason alone.
    """
    document = {
        "name": program.name,
        "command": list(program.command),
        "directory": str(program.directory),
        "env_files": [str(path) for path in program.env_files],
        "env_file_digests": list(env_file_digests),
        "environment": dict(sorted(program.environment.items())),
        "user": program.user,
        "stop_signal": program.stop_signal,
        "stop_timeout_s": program.stop_timeout_s,
        "readiness": asdict(program.readiness) if program.readiness else None,
        "start_timeout_s": program.start_timeout_s,
        "mark": mark,
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def program_of(document: Mapping[str, Any]) -> Program:
    """The program that a document of `program_document` describes."""
    readiness = document["readiness"]
    return Program(
        name=document["name"],
        command=tuple(document["command"]),
        directory=Path(document["directory"]),
        env_files=tuple(Path(path) for path in document["env_files"]),
        environment=document["environment"],
        user=document["user"],
        stop_signal=document["stop_signal"],
        stop_timeout_s=document["stop_timeout_s"],
        readiness=Readiness(**readiness) if readiness else None,
        start_timeout_s=document["start_timeout_s"],
    )


def supervisord_config(socket: str, programs: Sequence[Program], *, root: bool) -> str:
    """Text of supervisord.conf for a supervisord that runs in the folder of that file.

    All of its paths are relative and no value comes from a person, because `%`, ` ;` and ` #` mean
    something in this format; what a program runs stands in `programs/NAME.json` instead. Nothing
    starts by itself: programs start in the order of their dependencies, when they are applied.
    """
    head = [
        "[unix_http_server]",
        f"file = {socket}",
        "chmod = 0600",
        "[supervisord]",
        "logfile = ../logs/supervisord.log",
        "logfile_maxbytes = 1000000",
        "logfile_backups = 2",
        "pidfile = supervisord.pid",
        "childlogdir = ../logs",
        *(["user = root"] if root else []),
        "[rpcinterface:supervisor]",
        "supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface",
    ]
    return "\n".join([*head, *(line for program in programs for line in _section(program)), ""])


def _section(program: Program) -> list[str]:
    return [
        f"[program:{program.name}]",
        f"command = ./launch programs/{program.name}.json",
        "autostart = false",
        "autorestart = true",
        "startsecs = 1",
        f"startretries = {_START_RETRIES}",
        f"stopsignal = {program.stop_signal}",
        f"stopwaitsecs = {max(1, round(program.stop_timeout_s))}",
        "killasgroup = true",
        "redirect_stderr = true",
        f"stdout_logfile = ../logs/{program.name}.log",
        f"stdout_logfile_maxbytes = {LOG_BYTES}",
        "stdout_logfile_backups = 2",
    ]
