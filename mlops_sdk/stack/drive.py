"""Drives the engine on one stack: preview, up, refresh, destroy, and healing after a crash.

Must not know what the program deploys, nor how the engine is run (`run`) or mended (`heal`).
"""

import json
import os
import secrets
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlops_sdk.errors import LeaseHeldError, MlopsError, NotFoundError, UnexpectedChangesError
from mlops_sdk.release.project import Project
from mlops_sdk.stack import engine, heal, run
from mlops_sdk.stack.config_file import ConfigFile
from mlops_sdk.stack.events import Change
from mlops_sdk.stack.run import OnEvent
from mlops_sdk.stack.update_lock import UpdateLock

PROJECT_NAME = "mlops-sdk"


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


class Stack:
    """One environment's stack in the project's own file backend.

    `report` gets a line for everything that was healed or takes long; `wait_s` is how long an update waits for
    another one of this machine. Everything raises MlopsError with what the program or the provider said, and
    LeaseHeldError while another engine works on the stack.
    """

    def __init__(
        self,
        project: Project,
        environment: str,
        *,
        report: Callable[[str], None] = lambda _line: None,
        wait_s: float = 300.0,
    ) -> None:
        self.project = project
        self.environment = environment
        self.config = ConfigFile(project.root / "stacks", environment)
        self._folder = project.environment_folder(environment) / "pulumi"
        self._report = report
        self._wait_s = wait_s
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
        for name in ("state", "engines"):
            (self._folder / name).mkdir(parents=True, exist_ok=True)
        self._folder.chmod(0o700)
        with self._only_one(wait_s=self._wait_s):
            passphrase = self._folder / "passphrase"
            if not passphrase.exists():
                # Whatever an earlier passphrase had encrypted in the config file can be read by nobody now.
                self.config.forget_secrets()
                _write_private(passphrase, secrets.token_urlsafe(32))
            self.config.create_missing()
            if not self._checkpoint.exists():
                self._plain(["stack", "init", "--stack", self.environment])
            if not self.config.has("masterKey"):
                key = self._known_master_key() or secrets.token_urlsafe(32)
                self._plain(["config", "set", "--stack", self.environment, "--secret", "masterKey"], key)

    def set_secret(self, name: str, value: str) -> None:
        """Encrypt a value of the stack's config; it goes by standard input, never by an argument."""
        with self._only_one(wait_s=self._wait_s):
            self._plain(["config", "set", "--stack", self.environment, "--secret", name], value)

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
        self._require_stack()
        with self._only_one(wait_s=0.0, lease_epoch=lease_epoch) as alone:
            if alone:  # beside a running update a preview may read, but must not mend
                self._heal()
        seen = self._operate("preview", [], on_event, config_file=config_file, lease_epoch=lease_epoch)
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
        return self._change("up", on_event, lease_epoch)

    def refresh(self, on_event: OnEvent | None = None) -> UpResult:
        """Reads every resource; the changes are what differed from the state."""
        return self._change("refresh", on_event, None)

    def destroy(self, on_event: OnEvent | None = None) -> UpResult:
        """Deletes every resource; the stack and its config stay."""
        return self._change("destroy", on_event, None)

    def export(self) -> dict[str, Any]:
        """The stack's state; secrets stay encrypted in it."""
        document: dict[str, Any] = json.loads(self._plain(["stack", "export", "--stack", self.environment]))
        return document

    def outputs(self) -> dict[str, Any]:
        """The program's exported values, secrets masked."""
        text = self._plain(["stack", "output", "--json", "--stack", self.environment])
        document: dict[str, Any] = json.loads(text)
        return document

    def heal(self, *, lease_epoch: int | None = None) -> list[str]:
        """Ends orphaned engines, removes dead engines' locks and pending operations; says what it did.

        Waits for an update of this machine that is under way, unless that is of a deployer whose lease is older than
        `lease_epoch`: its engine is ended. Raises LeaseHeldError while a living engine works on the stack.
        """
        self._require_stack()
        with self._only_one(wait_s=self._wait_s, lease_epoch=lease_epoch):
            return self._heal()

    def _change(self, verb: str, on_event: OnEvent | None, lease_epoch: int | None) -> UpResult:
        self._require_stack()
        with self._only_one(wait_s=self._wait_s, lease_epoch=lease_epoch):
            self._heal()
            arguments = ["--yes", "--skip-preview"]
            return _result(self._operate(verb, arguments, on_event, lease_epoch=lease_epoch))

    def _heal(self) -> list[str]:
        heal.remove_scratch(self._folder)
        done = heal.end_orphans(self._folder / "engines")
        locks = (
            self._folder / "state" / ".pulumi" / "locks" / "organization" / PROJECT_NAME / self.environment
        )
        done += heal.clear_locks(locks)

        def command(arguments: list[str], text: str) -> str:
            return self._plain([*arguments, "--stack", self.environment], text)

        done += heal.clear_pending(self._checkpoint, command)
        for line in done:
            self._report(line)
        return done

    @contextmanager
    def _only_one(self, *, wait_s: float, lease_epoch: int | None = None) -> Iterator[bool]:
        """One update at a time of this machine; a killed one is let go of by the kernel.

        One that was stopped keeps its lock: who has a newer lease ends its engine and replaces the lock. Gives False,
        at once, if `wait_s` is 0 and another is under way; otherwise raises LeaseHeldError when that one is not
        done in time.
        """
        lock = UpdateLock(self._folder / "update.lock", lease_epoch)
        try:
            alone = lock.take()
            if not alone and wait_s:
                self._report(f"waiting for another update of {self.environment}")
            deadline = time.monotonic() + wait_s
            while not alone and time.monotonic() < deadline:
                late = lock.late_owner()
                if late is not None:
                    for line in heal.end_engines_of(self._folder / "engines", late):
                        self._report(line)
                    lock.replace()
                else:
                    time.sleep(0.1)
                alone = lock.take()
            if not alone and wait_s:
                raise LeaseHeldError(
                    f"another update of {self.environment} was not done after {wait_s:g} s",
                    remedy="Look for it with `ps`, or try again later.",
                )
            yield alone
        finally:
            lock.close()

    def _require_stack(self) -> None:
        if not self.exists():
            raise NotFoundError(
                f"environment {self.environment} has no stack on this machine yet",
                remedy=f"`mlops up {self.environment}` makes it.",
            )

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
        lease_epoch: int | None = None,
    ) -> run.Seen:
        config = config_file or self.config.path
        command = [str(self._found().pulumi), verb, "--non-interactive", "--suppress-progress"]
        command += ["--stack", self.environment, "--config-file", str(config), *arguments]
        environ = {"MLOPS_STACK_CONFIG": str(config), "PULUMI_DEBUG_COMMANDS": "true"}
        if lease_epoch is not None:
            environ["MLOPS_LEASE_EPOCH"] = str(lease_epoch)
        with tempfile.TemporaryDirectory(dir=self._folder, prefix=f"run-{os.getpid()}-") as scratch:
            log = Path(scratch) / "events.jsonl"
            log.touch(mode=0o600)
            return run.run(
                [*command, "--event-log", str(log)],
                what=f"pulumi {verb} of {self.environment}",
                folder=self.project.root,
                environ=self._environ(environ),
                record=self._folder / "engines" / "engine",
                log=log,
                on_event=on_event,
            )


_NOT_INHERITED = frozenset(
    {
        "MLOPS_LEASE_EPOCH",
        "MLOPS_STACK_CONFIG",
        "PULUMI_ACCESS_TOKEN",
        "PULUMI_CONFIG",
        "PULUMI_CONFIG_PASSPHRASE",
        "PULUMI_STACK",
    }
)
"""Variables of a person's shell that would win over, or contradict, the stack's own settings."""


def _result(seen: run.Seen) -> UpResult:
    return UpResult(tuple(seen.changes.values()), seen.summary.counts, seen.summary.duration_s)


def _write_private(path: Path, text: str) -> None:
    """Writes a file of mode 0600 that is there whole or not at all."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(text)
    fresh.replace(path)
