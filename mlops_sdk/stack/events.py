"""What the engine reports while it works, as typed events, from the lines of its event log. Pure.

Must not start anything: `drive` feeds it lines.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_COLOUR = re.compile(r"<\{%.*?%\}>")
QUIET_OPS = frozenset({"same", "read", "refresh", "read-discard", "discard"})


@dataclass(frozen=True)
class Change:
    """One resource that is, or would be, changed: `op` as Pulumi names it (create, update, delete, ...).

    `diffs` are the top-level properties that differ.
    """

    op: str
    type: str
    name: str
    urn: str
    diffs: tuple[str, ...] = ()

    def __str__(self) -> str:
        suffix = f" ({', '.join(self.diffs)})" if self.diffs else ""
        return f"{self.op} {self.type.rpartition(':')[2]} {self.name}{suffix}"


@dataclass(frozen=True)
class Started:
    """Work on a resource began."""

    change: Change


@dataclass(frozen=True)
class Done:
    """Work on a resource ended well."""

    change: Change


@dataclass(frozen=True)
class Failed:
    """Work on a resource failed; a Message with the reason comes apart."""

    change: Change


@dataclass(frozen=True)
class Message:
    """A line for people. `severity` is info, warning or error."""

    severity: str
    text: str
    urn: str = ""


@dataclass(frozen=True)
class Summary:
    """The end: how many resources each operation concerned."""

    counts: Mapping[str, int]
    duration_s: float


Event = Started | Done | Failed | Message | Summary


def parse(line: str) -> Event | None:
    """The event of one line; None for what says nothing to a person, or for half a line."""
    try:
        document: dict[str, Any] = json.loads(line)
    except ValueError:
        return None
    if "resourcePreEvent" in document:
        return Started(_change(document["resourcePreEvent"]["metadata"]))
    if "resOutputsEvent" in document:
        return Done(_change(document["resOutputsEvent"]["metadata"]))
    if "resOpFailedEvent" in document:
        return Failed(_change(document["resOpFailedEvent"]["metadata"]))
    if "summaryEvent" in document:
        summary = document["summaryEvent"]
        return Summary(dict(summary["resourceChanges"] or {}), float(summary.get("durationSeconds", 0)))
    if "diagnosticEvent" in document:
        return _message(document["diagnosticEvent"])
    return None


def _change(metadata: dict[str, Any]) -> Change:
    urn = metadata["urn"]
    diffs = tuple(sorted(metadata.get("diffs") or ()))
    return Change(metadata["op"], metadata["type"], urn.rpartition("::")[2], urn, diffs)


def _message(diagnostic: dict[str, Any]) -> Message | None:
    severity = diagnostic["severity"]
    text = _COLOUR.sub("", diagnostic["message"]).strip()
    if severity == "debug" or diagnostic.get("ephemeral") or not text:
        return None
    return Message(severity.removeprefix("info#"), text, diagnostic.get("urn", ""))
