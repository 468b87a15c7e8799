"""A deployer that is stopped at a step until its lease ran out and another deployed another release, then goes on."""

import signal
from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML

from tests.support.clone import await_true
from tests.support.matrix.environment import Tiny
from tests.support.matrix.points import words
from tests.support.matrix.watched import Watched

# What the one that comes too late says.
REFUSED = "has run out or was taken over"


@dataclass(frozen=True)
class Stopped:
    """How the stopped command ended, and what it said after it went on."""

    code: int
    text: str
    wrong: tuple[str, ...]


def stop_at(tiny: Tiny, step: str, command: list[str], other: list[str], live: str) -> Stopped:
    """Stop `command` when `step` begins, run `other`, which makes `live` live, and let the first go on."""
    watched = Watched(tiny.clone.start(*command))
    watched.await_step(words(step))
    watched.send(signal.SIGSTOP)
    try:
        await_true("the lease ran out", lambda: not _in_force(tiny))
        tiny.clone.run(*other)
        before = _seen(tiny)
        count = len(watched.lines)
    finally:
        watched.send(signal.SIGCONT)
    code = watched.finish()
    after = _seen(tiny)
    wrong = []
    if code in (0, -signal.SIGKILL):
        wrong.append(f"it ended with {code}")
    if REFUSED not in watched.text():
        wrong.append("it does not say why")
    wrong += [
        f"{what} was {before[what]} and is {after[what]}" for what in before if before[what] != after[what]
    ]
    if tiny.clone.live() != live:
        wrong.append(f"{tiny.clone.live()} is live")
    tail = "\n".join(line.text for line in watched.lines[count:])
    return Stopped(code, tail, tuple(wrong))


def _in_force(tiny: Tiny) -> bool:
    with tiny.ledger.connect() as conn:
        row = conn.execute("SELECT until > clock_timestamp() FROM mlops.lease WHERE env = 'local'").fetchone()
    assert row is not None
    return bool(row[0])


def _seen(tiny: Tiny) -> dict[str, object]:
    """Everything that the late one must not change."""
    # The agent notes what it sees; a build's variables belong to whoever runs it.
    entries = [entry.n for entry in tiny.ledger.entries(50) if entry.kind != "observed"]
    files = [path for path in (tiny.clone.folder / "env").iterdir() if not path.name.startswith("build-")]
    exported = tiny.stack.export()["deployment"]
    slots = ("current", "next", "share", "keyless")
    return {
        "the ledger's entries": entries[:1],
        "the pointer": tiny.ledger.pointer(),
        "the router": [(tiny.clone.folder / "router" / name).read_text() for name in slots],
        "stack config": _config_of(tiny),
        "resources": sorted((each["urn"], each.get("modified", "")) for each in exported["resources"]),
        "pending operations": exported.get("pending_operations") or [],
        "env files": sorted((path.name, path.stat().st_mtime_ns) for path in files),
    }


def _config_of(tiny: Tiny) -> dict[str, Any]:
    """Stack config but for the entry that it was rendered from.

    Who was stopped between asking for the lease and writing the file renders what the ledger says when it wakes up: the
    same, from a later entry.
    """
    text = (tiny.clone.root / "stacks" / "Pulumi.local.yaml").read_text(encoding="utf-8")
    document: dict[str, Any] = YAML(typ="safe").load(text)
    document["config"].pop("mlops-sdk:basis")
    return document
