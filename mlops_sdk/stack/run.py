"""Runs one command of the engine on a leash, follows its event log, and tells what came of it.

Must not know stacks and their folders: `drive` does.
"""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mlops_sdk import errors
from mlops_sdk.errors import CancelledError, MlopsError
from mlops_sdk.stack import events, leash
from mlops_sdk.stack.events import Change, Done, Event, Failed, Message, Started, Summary

POLL_S = 0.02
_LIST = re.compile(
    r"^\d+ errors? occurred:\s+\* "
)  # how the engine begins the reasons of a half-made resource
OnEvent = Callable[[Event], None]


@dataclass
class Seen:
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


def run(
    command: list[str],
    *,
    what: str,
    folder: Path,
    environ: Mapping[str, str],
    record: Path,
    log: Path,
    on_event: OnEvent | None,
) -> Seen:
    """Runs `command`, which writes its events to `log`, in `folder` with exactly `environ`.

    `what` names it in errors; `record` is where the leash says what it holds. Raises CancelledError after
    Ctrl-C, and otherwise the error that the program or provider named, with everything they said.
    """
    seen = Seen()
    leashed = [sys.executable, "-P", str(Path(leash.__file__))]
    leashed += ["--parent", str(os.getpid()), "--record", str(record), "--", *command]
    output: list[str] = []
    with subprocess.Popen(
        leashed,
        cwd=folder,
        env=dict(environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as child:
        assert child.stdout is not None
        reader = threading.Thread(target=lambda: output.extend(child.stdout or ()), daemon=True)
        reader.start()
        try:
            for event in _follow(log, child):
                seen.add(event)
                if on_event:
                    on_event(event)
        except KeyboardInterrupt:
            _interrupt(child)
            raise CancelledError(f"{what} was stopped by a person") from None
        except BaseException:
            child.terminate()
            child.wait()
            raise
        finally:
            leash.end_session(child.pid)  # empty, unless the leash itself was killed
        reader.join()
    if child.returncode:
        raise _failure(what, seen, f"{''.join(output)}\nthe engine ended with code {child.returncode}")
    return seen


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


def _failure(what: str, seen: Seen, output: str) -> MlopsError:
    """The error of a failed run: of the class that the provider named, with every message once."""
    texts = list(dict.fromkeys(_reason(message) for message in seen.errors))
    texts = [text for text in texts if text and text not in ("update failed", "preview failed")]
    if not texts:
        texts = [output.strip()[-2000:] or "the engine said nothing"]
    kind = next((found for text in texts if (found := _class_of(text))), MlopsError)
    plain = [
        text.removeprefix(f"{found.__name__}: ") if (found := _class_of(text)) else text for text in texts
    ]
    return _of_kind(kind, f"{what} failed:\n" + "\n".join(plain))


def _of_kind(kind: type[MlopsError], what: str) -> MlopsError:
    """An error of one class of the tree with a ready message, whatever its own constructor wants."""
    error = kind.__new__(kind)
    MlopsError.__init__(error, what)
    return error


def _reason(message: Message) -> str:
    name = message.urn.rpartition("::")[2]
    text = _LIST.sub("", message.text)
    for noise in ("error: ", "update failed\n"):
        text = text.removeprefix(noise)
    if _class_of(text) or not name or "pulumi:pulumi:Stack" in message.urn:
        return text
    return f"{name}: {text}"


def _class_of(text: str) -> type[MlopsError] | None:
    """The class that a message begins with: the provider writes `MovedError: ...`."""
    kind = getattr(errors, text.partition(":")[0], None)
    return kind if isinstance(kind, type) and issubclass(kind, MlopsError) else None
