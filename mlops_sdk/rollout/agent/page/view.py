"""What the page shows, made of what was seen. Pure: it must not ask a server or read a clock.

The order is that of an operator's worst night: what is live, is it well, since when, how do I go back.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from mlops_sdk.release.binding import Binding
from mlops_sdk.release.lock import Lock
from mlops_sdk.rollout.agent.abandoned import find_abandoned, how_to_go_on
from mlops_sdk.rollout.agent.duty import DutyState
from mlops_sdk.rollout.agent.page.look import Problem, Recorded, Seen
from mlops_sdk.rollout.agent.page.timeline import Event, timeline
from mlops_sdk.rollout.agent.page.words import Moment, moment, short_digest, size
from mlops_sdk.traffic.buckets import BUCKETS

Tone = Literal["ok", "warn", "bad", "none"]
_KEPT = ("bound", "cut")


@dataclass(frozen=True)
class Check:
    """Something that should hold: what was intended, what was seen, and what mends it."""

    name: str
    ok: bool
    intended: str
    seen: str
    remedy: str = ""


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
class Back:
    """The way back: to which release, by which command, and whether it is ready. Without one, `why_not` says why."""

    release: str
    command: str
    ready: tuple[Check, ...]
    why_not: str = ""


@dataclass(frozen=True)
class Slot:
    """A slot of the router: `percent` of the requests go to `release`."""

    slot: str
    release: str
    port: int
    percent: float


@dataclass(frozen=True)
class ModelRow:
    """A model version of a release, and its page in the registry."""

    key: str
    name: str
    version: int
    digest: str
    link: str


@dataclass(frozen=True)
class TableRow:
    """A declared table of a release; what is not known is empty."""

    name: str
    kind: str
    rows: str
    size: str
    fingerprint: str
    note: str


@dataclass(frozen=True)
class ReleaseView:
    """A release: code, models and tables."""

    release: str
    digest: str
    commit: str
    ref: str
    dirty: bool
    pg_schema: str
    models: tuple[ModelRow, ...]
    tables: tuple[TableRow, ...]


@dataclass(frozen=True)
class KeptRow:
    """A release that is kept, with its service and tables."""

    release: str
    digest: str
    slot: str
    runs: bool
    port: int
    pg_schema: str


@dataclass(frozen=True)
class EnvironmentView:
    """The page of one environment. What only Postgres knows is empty or None while it is away."""

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
        first = self.problems[0] if self.problems else Problem("on hold" if self.hold else "")
        note = first.remedy if self.tone == "none" else first.what
        return Card(self.name, self.tone, self.word, self.live, self.since, note)


def environment_view(seen: Seen, duties: Sequence[DutyState] = ()) -> EnvironmentView:
    """Return the page of an environment; `duties` are those of its agent, where this is it."""
    found, name = seen.recorded, seen.environment
    checks = tuple(_checks(seen))
    problems = (*seen.problems, *_broken(checks), *_duty_problems(duties, name))
    tone, word = _verdict(seen, problems)
    live = found.live if found else None
    binding = _binding(found, found.pointer.digest) if found else None
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
        back=_back(found, name) if found else None,
        hold=f"{found.hold.reason} ({found.hold.actor})" if found and found.hold else "",
        held=_held(found, seen),
        slots=tuple(_slots(seen)),
        checks=checks,
        release=_release(seen, found, binding) if found and binding else None,
        kept=tuple(_kept(found)) if found else (),
        timeline=timeline(found, seen.at) if found else (),
        comparable=tuple(b.release for b in reversed(found.bindings)) if found else (),
        compared=_compared(found, binding),
        links=tuple(
            (key, address)
            for key, address in seen.addresses.items()
            if address.startswith("http") and key != "page"  # which this is
        ),
        processes=tuple((p.name, p.state, str(p.pid or "-")) for p in seen.processes),
    )


def _verdict(seen: Seen, problems: Sequence[Problem]) -> tuple[Tone, str]:
    if not seen.is_up:
        return "none", "not on this machine"
    if seen.recorded is None:
        return "bad", "not known"
    if seen.recorded.pointer.digest is None:
        return ("warn", "needs attention") if problems else ("none", "nothing is live")
    if seen.recorded.pointer.digest not in seen.recorded.running:
        return "bad", "does not answer"
    return ("warn", "needs attention") if problems else ("ok", "healthy")


def _broken(checks: Sequence[Check]) -> list[Problem]:
    return [Problem(f"{c.name}: {c.seen}", c.remedy) for c in checks if not c.ok]


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


def _checks(seen: Seen) -> list[Check]:
    """Intended against observed."""
    found, name = seen.recorded, seen.environment
    up = f"`mlops up {name}` starts what is down"
    checks: list[Check] = []
    binding = _binding(found, found.pointer.digest) if found else None
    if found and binding:
        runs = binding.digest in found.running
        words = (
            "answers, with that digest" if runs else f"nothing of it answers on port {binding.service_port}"
        )
        checks.append(Check("live service", runs, binding.release, words, "" if runs else up))
        if seen.routes:
            leads = seen.routes.leads_only_to(binding.service_port)
            shares = seen.routes.next_share > 0 and seen.routes.current_port == binding.service_port
            to = (
                ", ".join(f"{slot.percent:g} % to {slot.release}" for slot in _slots(seen)) or "leads nowhere"
            )
            checks.append(
                Check("router", leads or shares, f"leads to {binding.release}", to, "" if leads else up)
            )
    if seen.processes:
        down = [process.name for process in seen.processes if not process.running]
        words = f"{', '.join(down)} down" if down else "all run"
        checks.append(Check("processes", not down, f"{len(seen.processes)} run", words, up if down else ""))
    if found:
        checks += [_came_to_its_end(found, name), *_still_passes(found, name)]
    return checks


def _came_to_its_end(found: Recorded, name: str) -> Check:
    cut_off = find_abandoned(found.entries, found.pointer.digest)
    wanted = "came to its end"
    if cut_off is None:
        return Check("last command", True, wanted, wanted)
    if found.held and found.held.in_force:
        return Check("last command", True, wanted, f"{cut_off.intent} of {cut_off.release} is under way")
    seen = f"{cut_off.intent} of {cut_off.release} (entry #{cut_off.n}) was cut off"
    return Check("last command", False, wanted, seen, f"`{how_to_go_on(name, cut_off)}` goes on with it")


def _still_passes(found: Recorded, name: str) -> list[Check]:
    """What was found when the live release was verified the last time, if that is not too long ago to be seen."""
    digest = found.pointer.digest
    entry = next(
        (e for e in found.entries if e.digest == digest and e.kind in ("verified", "withdrawn")), None
    )
    if digest is None or entry is None:
        return []
    if entry.kind == "verified":
        return [Check("verification", True, "passes its gates", "passed its gates")]
    return [
        Check("verification", False, "passes its gates", entry.reason, f"`mlops verify {name}` looks again")
    ]


def _back(found: Recorded, name: str) -> Back | None:
    if found.pointer.digest is None:
        return None
    target = _binding(found, found.back_to)
    if target is None:
        others = "".join(
            f'; `mlops rollback {name} --to {kept.release} -m "why"` goes to {kept.release}'
            for kept in _kept(found)
            if kept.slot != "current"
        )
        return Back("", "", (), f"There is no earlier verified release{others}.")
    stale = (
        [t.table for t in found.sizes[target.digest].tables if t.state == "stale"]
        if (target.digest in found.sizes)
        else []
    )
    runs, status = target.digest in found.running, found.statuses.get(target.digest, "")
    ready = (
        Check("service", runs, "answers", "answers" if runs else "is down: a rollback starts it first"),
        Check("tables", status == "cut", "kept", "kept" if status == "cut" else f"are {status}"),
        Check(
            "rows", not stale, "follow the live release",
            f"{', '.join(stale)} must be copied anew first" if stale else "follow the live release",
        ),
    )  # fmt: skip
    return Back(target.release, f'mlops rollback {name} --to {target.release} -m "why"', ready)


def _compared(found: Recorded | None, live: Binding | None) -> tuple[str, str]:
    others = [b for b in reversed(found.bindings) if b != live] if found else []
    target = _binding(found, found.back_to) if found else None
    first = target or (others[0] if others else None)
    return first.release if first else "", live.release if live else ""


def _held(found: Recorded | None, seen: Seen) -> str:
    if found is None or found.held is None or not found.held.in_force:
        return ""
    held, since = found.held, moment(found.held.since, seen.at)
    return f"{held.holder.who} on {held.holder.host} (pid {held.holder.pid}) deploys since {since.text}"


def _slots(seen: Seen) -> list[Slot]:
    routes, found = seen.routes, seen.recorded
    if routes is None or routes.current_port is None:
        return []
    names = {b.service_port: b.release for b in found.bindings} if found else {}

    def slot(name: str, port: int, share: int) -> Slot:
        return Slot(name, names.get(port, f"port {port}"), port, round(100 * share / BUCKETS, 1))

    if routes.next_port is None or routes.next_port == routes.current_port:
        return [slot("current", routes.current_port, BUCKETS)]
    return [
        slot("current", routes.current_port, BUCKETS - routes.next_share),
        slot("next", routes.next_port, routes.next_share),
    ]


def _release(seen: Seen, found: Recorded, binding: Binding) -> ReleaseView:
    lock = found.locks[binding.digest]
    return ReleaseView(
        release=binding.release,
        digest=binding.digest,
        commit=lock.code.commit,
        ref=lock.code.ref,
        dirty=lock.code.dirty,
        pg_schema=binding.pg_schema,
        models=_models(lock, seen.addresses.get("mlflow", "")),
        tables=_tables(found, binding, lock),
    )


def _models(lock: Lock, mlflow: str) -> tuple[ModelRow, ...]:
    return tuple(
        ModelRow(
            key=key,
            name=model.name,
            version=model.version,
            digest=short_digest(model.digest),
            link=f"{mlflow}/#/models/{model.name}/versions/{model.version}" if mlflow else "",
        )
        for key, model in lock.models.items()
    )


def _tables(found: Recorded, binding: Binding, lock: Lock) -> tuple[TableRow, ...]:
    measured = found.sizes.get(binding.digest)
    sizes = {table.table: table for table in measured.tables} if measured else {}
    rows: list[TableRow] = []
    for name, spec in sorted(lock.tables.items()):
        known = sizes.get(name)
        shared = known.shared_with if known and spec.kind == "derived" else 0
        rows.append(
            TableRow(
                name=name,
                kind=spec.kind,
                rows=f"{known.rows:,}" if known and known.rows is not None else "",
                size=size(known.bytes) if known else "",
                fingerprint=binding.fingerprints.get(name, ""),
                note=(f"shared with {shared} more" if shared else "")
                if spec.kind == "derived"
                else spec.policy or "",
            )
        )
    return tuple(rows)


def _kept(found: Recorded) -> list[KeptRow]:
    live = found.pointer.digest
    kept = [b for b in found.bindings if b.digest == live or found.statuses.get(b.digest) in _KEPT]
    return [
        KeptRow(
            release=b.release,
            digest=short_digest(b.digest),
            slot="current" if b.digest == live else "kept",
            runs=b.digest in found.running,
            port=b.service_port,
            pg_schema=b.pg_schema,
        )
        for b in reversed(kept)
    ]


def _binding(found: Recorded | None, digest: str | None) -> Binding | None:
    if found is None or digest is None:
        return None
    return next((binding for binding in found.bindings if binding.digest == digest), None)
