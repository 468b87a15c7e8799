"""One point: a command is begun and something killed, then the same command again, then everything is looked at."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import psutil

from tests.support.clone import Clone, await_true
from tests.support.matrix.environment import Tiny
from tests.support.matrix.points import KINDS, OF_DERIVED, Operation, Point, steps_of, words
from tests.support.matrix.watched import Watched

_ENGINE_FAILED = (20, 21)
_LOOK_S = 0.02
Report = Callable[[str], None]


@dataclass(frozen=True)
class Unkilled:
    """What a command does when nobody kills it: seconds by kind of step, and the state that it leaves."""

    seconds: dict[str, float]
    desired: Any


@dataclass(frozen=True)
class Result:
    """What came of a point. `fell` is the last line of progress before the kill, `wrong` empty if all is well.

    `code` is that of the command that was hit, `first_s` and `again_s` how long both commands took.
    """

    point: str
    wrong: str
    fell: str
    code: int
    first_s: float
    again_s: float

    def document(self) -> dict[str, Any]:
        """JSON data."""
        return asdict(self)


def unkilled(tiny: Tiny, operation: Operation, *, derived: bool) -> Unkilled:
    """Run the command without a kill."""
    command = tiny.prepare(operation, derived=derived)
    wanted = _wanted(tiny, command)
    tiny.count(f"{operation} unkilled")
    watched = Watched(tiny.clone.start(*command))
    assert watched.finish() == 0, watched.text()
    tiny.check(wanted)
    found = {_kind(line): took for line, took in watched.seconds().items()}
    steps = steps_of(operation, derived=derived)
    assert set(found) == steps, f"{operation} has the steps {sorted(found)}, not {sorted(steps)}"
    return Unkilled(found, tiny.desired())


def try_point(tiny: Tiny, point: Point, usual: Unkilled) -> Result:
    """Do it. An assertion that fails is what is wrong; the environment may be in any state then."""
    command = tiny.prepare(point.operation, derived=point.step in OF_DERIVED)
    tiny.count(point.id)
    wanted = _wanted(tiny, command)
    began = time.monotonic()
    watched = Watched(tiny.clone.start(*command))
    fell, code, again = "", 0, began
    try:
        fell = strike(tiny.clone, watched, point, usual.seconds.get(point.step, 0.0) / 2)
        code = watched.finish()
        again = time.monotonic()
        _require_code(point, code, watched)
        tiny.clone.run(*command)
        tiny.check(wanted)
        found = tiny.desired()
        assert found == usual.desired, "\n".join(["another state:", *differences(found, usual.desired)])
        wrong = ""
    except Exception as error:  # noqa: BLE001 - whatever goes wrong is the result of the point
        watched.send(signal.SIGKILL)
        wrong = f"{type(error).__name__}: {error}\n{watched.text()}"
    ended = time.monotonic()
    return Result(point.id, wrong, fell, code, round(again - began, 1), round(ended - again, 1))


def differences(found: Any, wanted: Any, path: str = "") -> Iterator[str]:
    """Where two values of JSON differ."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        for key in sorted({*found, *wanted}):
            yield from differences(found.get(key), wanted.get(key), f"{path}/{key}")
    elif found != wanted:
        yield f"{path}: {found} instead of {wanted}"


def strike(clone: Clone, watched: Watched, point: Point, half_s: float) -> str:
    """Kill at the point; what the command had said by then."""
    number = watched.await_step(words(point.step))
    if point.moment == "inside":
        time.sleep(half_s)
    if point.moment == "after":
        watched.await_done(number)
    if point.victim == "deployer":
        fell = watched.where()
        watched.send(signal.SIGKILL)
        return fell
    kill_now = _kill_first(clone, watched, point.victim)
    await_true(f"a process {point.victim} is there, or the command is at its end", kill_now, timeout_s=120)
    return watched.where()


def _kill_first(clone: Clone, watched: Watched, victim: str) -> Callable[[], bool]:
    def look() -> bool:
        pids = pids_of(clone, victim)
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return bool(pids) or watched.process.poll() is not None

    return look


def pids_of(clone: Clone, victim: str) -> list[int]:
    """The engine's or the provider's processes that work for this clone."""
    found = []
    for process in psutil.process_iter(["name", "cmdline", "cwd"]):
        line = process.info["cmdline"] or []
        if str(clone.root) not in f"{' '.join(line)} {process.info['cwd'] or ''}":
            continue
        is_engine = process.info["name"] == "pulumi" and "--event-log" in line
        is_provider = "mlops_sdk.provider" in line
        if (is_engine and victim == "engine") or (is_provider and victim == "provider"):
            found.append(process.pid)
    return found


def _require_code(point: Point, code: int, watched: Watched) -> None:
    if point.victim == "deployer":
        assert code == -signal.SIGKILL, f"it ended with {code} before the kill"
    elif code != 0:  # 0: the kill came when the engine had nothing left to do
        assert code in _ENGINE_FAILED, f"exit code {code}"
        text = watched.text()
        first, second = (
            text.find("pulumi"),
            max(text.find("turned back:"), text.find("did not come to its end")),
        )
        assert 0 <= first < second, "the engine's failure is told first, then what became of the rest"


def _wanted(tiny: Tiny, command: list[str]) -> str:
    """The tag that is live afterwards."""
    if command[0] == "deploy":
        return command[1].rpartition("/")[2].removesuffix(".yaml")
    if command[0] == "promote":
        promoted: str = tiny.clone.json("status", command[1])["live"]
        return promoted
    live = tiny.ledger.pointer().digest
    assert live is not None
    target = tiny.ledger.last_verified_before(live)
    return next(b.release for b in tiny.ledger.bindings() if b.digest == target)


def _kind(line: str) -> str:
    return next(kind for kind in KINDS if line.startswith(words(kind)))


__all__ = ["Result", "Unkilled", "pids_of", "strike", "try_point", "unkilled"]
