"""Drives the engine on one stack: preview, up, refresh, destroy, and healing after a crash.

The engine's command line is run on a leash (`leash`), its event log is followed (`events`). Must not know
what the program deploys.
"""

import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlops_sdk import errors
from mlops_sdk.errors import CancelledError, MlopsError, NotFoundError, UnexpectedChangesError
from mlops_sdk.release.project import Project
from mlops_sdk.stack import engine, events, heal
from mlops_sdk.stack.config_file import ConfigFile
from mlops_sdk.stack.events import Change, Done, Event, Failed, Message, Started, Summary

PROJECT_NAME = "mlops-sdk"
POLL_S = 0.02
OnEvent = Callable[[Event], None]


@dataclass(frozen=True)
class Preview:
    """What `up` would change, in the engine's order. Empty: nothing."""

    changes: tuple[Change, ...]


@dataclass(frozen=True)
class UpResult:
    """What was changed, and how many resources each operation concerned."""

    changes: tuple[Change, ...]
    counts: Mapping[str, int]
    duration_s: float


@dataclass
class _Seen:
    """The events of one run, gathered for its result."""

    changes: dict[str, Change] = field(default_factory=dict)
    failed: list[Change] = field(default_factory=list)
    errors: list[Message] = field(default_factory=list)
    summary: Summary = field(default_factory=lambda: Summary({}, 0.0))

    def add(self, event: Event) -> None:
        match event:
            case Started(change) | Done(change) if change.op not in events.QUIET_OPS:
                self.changes[change.urn] = change
            case Failed(change):
                self.failed.append(change)
            case Message(severity="error"):
                self.errors.append(event)
            case Summary():
                self.summary = event


class Stack:
    """One environment's stack in the project's own file backend.

    `report` gets a line for everything that was healed or takes long. Everything raises MlopsError with what
    the program or the provider said; LeaseHeldError while another engine works on the stack.
    """

    def __init__(
        self, project: Project, environment: str, *, report: Callable[[str], None] = lambda _line: None
    ) -> None:
        self.project = project
        self.environment = environment
        self.config = ConfigFile(project.root / "stacks", environment)
        self._folder = project.environment_folder(environment) / "pulumi"
        self._report = report
        self._engine: engine.Engine | None = None

    def env_vars(self) -> dict[str, str]:
        """What a shell needs to run `pulumi -s ENV` by hand on the same state. Holds no secret."""
        return {
            "PATH": os.pathsep.join(
                [
                    str(self._found().folder),
                    str(self.project.root / ".venv" / "bin"),
                    os.environ.get("PATH", os.defpath),
                ]
            ),
            "PULUMI_HOME": str(self._folder / "home"),
            "PULUMI_BACKEND_URL": f"file://{self._folder / 'state'}",
            "PULUMI_CONFIG_PASSPHRASE_FILE": str(self._folder / "passphrase"),
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        }

    def init(self) -> None:
        """Makes what is missing of the stack: folders, passphrase, config file, master key. Idempotent."""
        (self._folder / "state").mkdir(parents=True, exist_ok=True)
        (self._folder / "engines").mkdir(exist_ok=True)
        self._folder.chmod(0o700)
        passphrase = self._folder / "passphrase"
        if not passphrase.exists():
            _write_private(passphrase, secrets.token_urlsafe(32))
            # Whatever an earlier passphrase had encrypted in the config file can be read by nobody now.
            self.config.forget_secrets()
        self.config.create_missing()
        if not self._checkpoint.exists():
            self._plain(["stack", "init", "--stack", self.environment])
        if not self.config.has("masterKey"):
            key = self._known_master_key() or secrets.token_urlsafe(32)
            self._plain(["config", "set", "--stack", self.environment, "--secret", "masterKey"], key)

    def exists(self) -> bool:
        """Whether `init` has been called once on this machine."""
        return self._checkpoint.exists() and self.config.path.exists()

    def preview(
        self,
        config_file: Path | None = None,
        *,
        expect_no_changes: bool = False,
        on_event: OnEvent | None = None,
        lease_epoch: int | None = None,
    ) -> Preview:
        """What `up` would do, with `config_file` in place of the stack's own config.

        Raises UnexpectedChangesError that names the changes, if none were expected.
        """
        seen = self._operate("preview", [], on_event, config_file=config_file, extra=_lease(lease_epoch))
        changes = tuple(seen.changes.values())
        if changes and expect_no_changes:
            listed = "".join(f"\n  {change}" for change in changes)
            raise UnexpectedChangesError(
                f"{self.environment} differs from its stack config:{listed}",
                remedy=f"`mlops up {self.environment}` makes it match.",
            )
        return Preview(changes)

    def up(self, on_event: OnEvent | None = None, *, lease_epoch: int | None = None) -> UpResult:
        """Makes the environment match its stack config."""
        arguments = ["--yes", "--skip-preview"]
        return _result(self._operate("up", arguments, on_event, extra=_lease(lease_epoch)))

    def refresh(self, on_event: OnEvent | None = None) -> UpResult:
        """Reads every resource; the changes are what differed from the state."""
        return _result(self._operate("refresh", ["--yes", "--skip-preview"], on_event))

    def destroy(self, on_event: OnEvent | None = None) -> UpResult:
        """Deletes every resource; the stack and its config stay."""
        return _result(self._operate("destroy", ["--yes", "--skip-preview"], on_event))

    def export(self) -> dict[str, Any]:
        """The stack's state; secrets stay encrypted in it."""
        document: dict[str, Any] = json.loads(self._plain(["stack", "export", "--stack", self.environment]))
        return document

    def outputs(self) -> dict[str, Any]:
        """The program's exported values, secrets masked."""
        text = self._plain(["stack", "output", "--json", "--stack", self.environment])
        document: dict[str, Any] = json.loads(text)
        return document

    def heal(self) -> list[str]:
        """Ends orphaned engines, removes dead engines' locks and pending operations; says what it did.

        Raises LeaseHeldError while a living engine works on the stack.
        """
        done = heal.end_orphans(self._folder / "engines")
        locks = (
            self._folder / "state" / ".pulumi" / "locks" / "organization" / PROJECT_NAME / self.environment
        )
        done += heal.clear_locks(locks)

        def run(arguments: list[str], text: str) -> str:
            return self._plain([*arguments, "--stack", self.environment], text)

        done += heal.clear_pending(self._checkpoint, run)
        for line in done:
            self._report(line)
        return done

    @property
    def _checkpoint(self) -> Path:
        return self._folder / "state" / ".pulumi" / "stacks" / PROJECT_NAME / f"{self.environment}.json"

    def _found(self) -> engine.Engine:
        if self._engine is None:
            self._engine = engine.ensure(self._report)
        return self._engine

    def _known_master_key(self) -> str | None:
        """The master key of an environment whose config file was lost: its operator file has it too."""
        from mlops_sdk.runtime import env_file

        path = self.project.environment_folder(self.environment) / "env" / "operator.env"
        return env_file.read(path).get("MLOPS_MASTER_KEY") if path.exists() else None

    def _environ(self, extra: Mapping[str, str]) -> dict[str, str]:
        environ = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
        return {**environ, **self.env_vars(), **extra}

    def _plain(self, arguments: list[str], text: str = "") -> str:
        """Runs a short command of the engine; returns its output."""
        command = [str(self._found().pulumi), "--non-interactive", *arguments]
        done = subprocess.run(
            command, input=text, cwd=self.project.root, env=self._environ({}), capture_output=True, text=True,
            timeout=120, check=False,
        )  # fmt: skip
        if done.returncode:
            raise MlopsError(f"pulumi {' '.join(arguments[:2])} failed: {done.stderr.strip()}")
        return done.stdout

    def _operate(
        self,
        verb: str,
        arguments: list[str],
        on_event: OnEvent | None,
        *,
        config_file: Path | None = None,
        extra: Mapping[str, str] | None = None,
    ) -> _Seen:
        if not self.exists():
            raise NotFoundError(
                f"environment {self.environment} has no stack on this machine yet",
                remedy=f"`mlops up {self.environment}` makes it.",
            )
        self.heal()
        config = config_file or self.config.path
        command = [str(self._found().pulumi), verb, "--non-interactive", "--suppress-progress"]
        command += ["--stack", self.environment, "--config-file", str(config), *arguments]
        environ = {"MLOPS_STACK_CONFIG": str(config), "PULUMI_DEBUG_COMMANDS": "true", **(extra or {})}
        with tempfile.TemporaryDirectory(dir=self._folder, prefix="run-") as scratch:
            log = Path(scratch) / "events.jsonl"
            log.touch(mode=0o600)
            code, output, seen = self._leashed([*command, "--event-log", str(log)], environ, log, on_event)
        if code:
            raise _failure(verb, self.environment, seen, output)
        return seen

    def _leashed(
        self, command: list[str], environ: Mapping[str, str], log: Path, on_event: OnEvent | None
    ) -> tuple[int, str, _Seen]:
        seen = _Seen()
        leash = [
            sys.executable,
            "-P",
            str(Path(__file__).with_name("leash.py")),
            "--parent",
            str(os.getpid()),
        ]
        leash += ["--record", str(self._folder / "engines" / "engine"), "--", *command]
        with subprocess.Popen(
            leash, cwd=self.project.root, env=self._environ(environ), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        ) as child:  # fmt: skip
            output: list[str] = []
            assert child.stdout is not None
            reader = threading.Thread(target=lambda: output.append(child.stdout.read()), daemon=True)  # type: ignore[union-attr]
            reader.start()
            try:
                for event in _follow(log, child):
                    seen.add(event)
                    if on_event:
                        on_event(event)
            except KeyboardInterrupt:
                _interrupt(child)
                raise CancelledError(f"stopped by a person while working on {self.environment}") from None
            except BaseException:
                child.terminate()
                raise
            reader.join()
        return child.returncode, "".join(output), seen


_NOT_INHERITED = frozenset(
    {"PULUMI_CONFIG_PASSPHRASE", "PULUMI_STACK", "PULUMI_CONFIG", "PULUMI_ACCESS_TOKEN"}
)
"""Variables of a person's shell that would win over, or contradict, the stack's own settings."""


def _follow(log: Path, child: subprocess.Popen[str]) -> Iterator[Event]:
    """The events of a growing log, until the process has ended and the log is read to its end."""
    pending = ""
    with log.open(encoding="utf-8") as stream:
        ended = False
        while True:
            ended = ended or child.poll() is not None
            pending += (chunk := stream.read())
            *lines, pending = pending.split("\n")
            for line in lines:
                event = events.parse(line)
                if event is not None:
                    yield event
            if ended and not chunk:
                return
            if not chunk:
                _wait(child)


def _wait(child: subprocess.Popen[str]) -> None:
    try:
        child.wait(POLL_S)
    except subprocess.TimeoutExpired:
        return


def _interrupt(child: subprocess.Popen[str]) -> None:
    """Passes Ctrl-C on (the engine is in another session) and waits; each further one is passed on too."""
    while True:
        try:
            child.send_signal(signal.SIGINT)
            child.wait()
            return
        except KeyboardInterrupt:
            continue


def _lease(epoch: int | None) -> dict[str, str]:
    """What tells the provider under whose lease the engine works."""
    return {} if epoch is None else {"MLOPS_LEASE_EPOCH": str(epoch)}


def _result(seen: _Seen) -> UpResult:
    return UpResult(tuple(seen.changes.values()), seen.summary.counts, seen.summary.duration_s)


def _failure(verb: str, environment: str, seen: _Seen, output: str) -> MlopsError:
    """The error of a failed run: of the class that the provider named, with every message once."""
    texts = list(dict.fromkeys(_reason(message) for message in seen.errors))
    texts = [text for text in texts if text and text not in ("update failed", "preview failed")]
    if not texts:
        texts = [output.strip()[-2000:] or "the engine said nothing"]
    kind = next((found for text in texts if (found := _class_of(text))), MlopsError)
    plain = [
        text.removeprefix(f"{found.__name__}: ") if (found := _class_of(text)) else text for text in texts
    ]
    return kind_error(kind, f"pulumi {verb} of {environment} failed:\n" + "\n".join(plain))


def kind_error(kind: type[MlopsError], what: str) -> MlopsError:
    """An error of one class of the tree with a ready message, whatever its own constructor wants."""
    error = kind.__new__(kind)
    MlopsError.__init__(error, what)
    return error


def _reason(message: Message) -> str:
    name = message.urn.rpartition("::")[2]
    text = message.text
    for noise in ("error: ", "update failed\n"):
        text = text.removeprefix(noise)
    if _class_of(text) or not name or "pulumi:pulumi:Stack" in message.urn:
        return text
    return f"{name}: {text}"


def _class_of(text: str) -> type[MlopsError] | None:
    """The class that a message begins with: the provider writes `MovedError: ...`."""
    kind = getattr(errors, text.partition(":")[0], None)
    return kind if isinstance(kind, type) and issubclass(kind, MlopsError) else None


def _write_private(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(text)
