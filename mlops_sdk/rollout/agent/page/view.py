"""What the page shows, made of what was seen. Pure: it must not ask a server or read a clock.

The order is that of an operator's worst night: what is live, is it well, since when, how do I go back.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from mlops_sdk.rollout.agent.duty import DutyState
from mlops_sdk.rollout.agent.page.checks import Check, Slot, checks, slots
from mlops_sdk.rollout.agent.page.look import Problem, Recorded, Seen
from mlops_sdk.rollout.agent.page.release import (
    Back,
    KeptRow,
    ReleaseView,
    back,
    binding_of,
    kept_rows,
    release_view,
)
from mlops_sdk.rollout.agent.page.timeline import Event, timeline
from mlops_sdk.rollout.agent.page.words import Moment, moment, short_digest

Tone = Literal["ok", "warn", "bad", "none"]


@dataclass(frozen=True)
class Card:
    """One environment beside the others: its live release and one word."""

    name: str
    tone: Tone
    word: str
    live: str
    since: Moment | None
    note: str


@dataclass(frozen=True)
class EnvironmentView:
    """The page of one environment. What only Postgres knows is empty or None while it is away.

    `blocked` and `paused` are of the live release: why it is blocked, and whether a later environment took it over.
    """

    name: str
    known: bool
    title: str
    tone: Tone
    word: str
    live: str
    digest: str
    since: Moment | None
    by: str
    reason: str
    is_rollback: bool
    problems: tuple[Problem, ...]
    back: Back | None
    hold: str
    held: str
    blocked: str
    paused: bool
    slots: tuple[Slot, ...]
    checks: tuple[Check, ...]
    release: ReleaseView | None
    kept: tuple[KeptRow, ...]
    timeline: tuple[Event, ...]
    comparable: tuple[str, ...]
    compared: tuple[str, str]  # what the form begins with: the release to go back to, and the live one
    links: tuple[tuple[str, str], ...]
    processes: tuple[tuple[str, str, str], ...]

    def card(self) -> Card:
        """The environment as it stands beside the others."""
        marks = {"on hold": bool(self.hold), "blocked": bool(self.blocked), "paused": self.paused}
        first = self.problems[0] if self.problems else Problem(", ".join(m for m, on in marks.items() if on))
        note = first.remedy if self.tone == "none" else first.what
        return Card(self.name, self.tone, self.word, self.live, self.since, note)


def environment_view(seen: Seen, duties: Sequence[DutyState] = ()) -> EnvironmentView:
    """Return the page of an environment; `duties` are those of its agent, where this is it."""
    found, name = seen.recorded, seen.environment
    looked_at = checks(found, name) if found else ()
    problems = (*seen.problems, *_broken(looked_at), *_duty_problems(duties, name))
    tone, word = _verdict(seen, problems)
    live = found.live if found else None
    binding = binding_of(found, found.pointer.digest) if found else None
    return EnvironmentView(
        name=name,
        known=found is not None,
        title=binding.release if binding else "Nothing is live" if found or not seen.is_up else "Not known",
        tone=tone,
        word=word,
        live=binding.release if binding else "",
        digest=short_digest(binding.digest) if binding else "",
        since=moment(live.at, seen.at) if live else None,
        by=live.actor if live else "",
        reason=live.reason if live else "",
        is_rollback=bool(live and live.rollback_of),
        problems=problems,
        back=back(found, name) if found else None,
        hold=f"{found.hold.reason} ({found.hold.actor})" if found and found.hold else "",
        held=_held(found, seen),
        blocked=found.blocked.get(binding.digest, "") if found and binding else "",
        paused=bool(found and binding and found.paused == binding.release),
        slots=tuple(slots(seen.routes, found)),
        checks=looked_at,
        release=release_view(found, binding, seen.addresses.get("mlflow", "")) if found and binding else None,
        kept=kept_rows(found) if found else (),
        timeline=timeline(found, seen.at) if found else (),
        comparable=tuple(b.release for b in reversed(found.bindings)) if found else (),
        compared=_compared(found),
        links=tuple(
            (key, address)
            for key, address in seen.addresses.items()
            if address.startswith("http") and key != "page"  # which this is
        ),
        processes=tuple((p.name, p.state, str(p.pid or "-")) for p in seen.processes),
    )


def _verdict(seen: Seen, problems: Sequence[Problem]) -> tuple[Tone, str]:
    found = seen.recorded
    if not seen.is_up:
        return "none", "not on this machine"
    if found is None:
        return "bad", "not known"
    live = found.pointer.digest
    if live is None:
        return ("warn", "needs attention") if problems else ("none", "nothing is live")
    if found.intended.port_of(live) is not None and not found.answers(live):
        return "bad", "does not answer"
    return ("warn", "needs attention") if problems else ("ok", "healthy")


def _broken(looked_at: Sequence[Check]) -> list[Problem]:
    return [
        Problem(f"{c.name}: {c.seen}" + (f" ({c.where})" if c.where else ""), c.remedy)
        for c in looked_at
        if not c.ok and not c.passing
    ]


def _duty_problems(duties: Sequence[DutyState], environment: str) -> list[Problem]:
    failing = [
        Problem(
            f"duty {duty.name} fails: {duty.error}",
            f"its log: .mlops/{environment}/logs/agent.log",
        )
        for duty in duties
        if duty.failures > 1  # once may be a server that starts anew
    ]
    return failing + [Problem(f"duty {d.name}: {problem}") for d in duties for problem in d.problems]


def _compared(found: Recorded | None) -> tuple[str, str]:
    live = binding_of(found, found.pointer.digest) if found else None
    others = [b for b in reversed(found.bindings) if b != live] if found else []
    target = binding_of(found, found.back_to) if found else None
    first = target or (others[0] if others else None)
    return first.release if first else "", live.release if live else ""


def _held(found: Recorded | None, seen: Seen) -> str:
    if found is None or found.held is None or not found.is_held:
        return ""
    held, since = found.held, moment(found.held.since, seen.at)
    return f"{held.holder.who} on {held.holder.host} (pid {held.holder.pid}) deploys since {since.text}"
