"""Random histories of an environment: the ledger's laws hold, and `at` says what was recorded beside it.

Every step is written by the functions that a deployer uses, on a real Postgres: binding, cutover, hold, shift.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlops_sdk.ledger.address import At, Number
from mlops_sdk.ledger.database import connect
from mlops_sdk.ledger.lease import Holder, Lease
from mlops_sdk.ledger.periods import read_blocked, read_moment, read_periods, read_unfinished, read_verdicts
from mlops_sdk.state import State
from mlops_sdk.traffic.shift import shift
from tests.support.environment import installed_environment
from tests.support.postgres import PostgresServer
from tests.support.releases import Releases

TAGS = ("v0.0.1", "v0.0.2", "v0.0.3", "v0.0.4")
STEPS = ("deploy", "promote", "rollback", "shift", "hold", "resume", "block", "unblock", "fail", "withdraw")


@dataclass
class Truth:
    """What was true at a time, as the test itself recorded it."""

    at: datetime
    n: int
    live: str | None
    shares: dict[str, int]


@dataclass
class Written:
    """An environment and all that was recorded of it, beside its ledger."""

    releases: Releases
    truths: list[Truth] = field(default_factory=list)
    live: str | None = None
    shares: dict[str, int] = field(default_factory=dict)
    held: bool = False
    blocked: set[str] = field(default_factory=set)
    verdicts: dict[str, str] = field(default_factory=dict)
    unfinished: bool = False

    def do(self, step: str, tag: str, share: int) -> None:
        """Write one step, and record what is true after it."""
        ledger, digest = self.releases.environment.ledger, self.releases.locks[tag].digest
        with Lease.acquire(self.releases.conninfo, "local", Holder.this_process("ann")) as lease:
            token = lease.token
            match step:
                case "deploy" | "promote" | "rollback":
                    self._release(step, tag, lease)
                case "shift" if self.live not in (None, digest):
                    self._shift(digest, share, lease)
                case "hold" | "resume":
                    ledger.set_hold(step == "hold", lease=token, actor="ann", reason="a person says so")
                    self.held = step == "hold"
                case "block" | "unblock":
                    ledger.record(step, lease=token, digest=digest, reason="a bug")  # type: ignore[arg-type]
                    (self.blocked.add if step == "block" else self.blocked.discard)(digest)
                case "fail":
                    ledger.record("intent", lease=token, details={"intent": "deploy", "digest": digest})
                    self.unfinished = share % 2 == 0  # killed, or it came to its end
                    if not self.unfinished:
                        ledger.record("failed", lease=token, digest=digest)
                        self.verdicts[digest] = "failed"
                case "withdraw":
                    ledger.record("withdrawn", lease=token, digest=digest)
                    self.verdicts[digest] = "withdrawn"
        self._remember()

    def _release(self, step: str, tag: str, lease: Lease) -> None:
        ledger, digest = self.releases.environment.ledger, self.releases.locks[tag].digest
        ledger.record("intent", lease=lease.token, details={"intent": step, "digest": digest})
        self.releases.bind(tag)
        ledger.record("verified", lease=lease.token, digest=digest)
        left = self.live if step == "rollback" and self.live != digest else None
        self.releases.make_live(tag, lease=lease.token, rollback_of=left)
        ledger.record("done", lease=lease.token, digest=digest)
        self.verdicts[digest] = "verified"
        self.live, self.shares = digest, {digest: 256}  # a handover ends every shift
        self.unfinished = False

    def _shift(self, digest: str, share: int, lease: Lease) -> None:
        assert self.live is not None
        other = next((one for one in self.shares if one not in (self.live, digest)), None)
        for to, weight in ((other, 0), (digest, share)):
            if to is not None:
                shift(
                    conninfo=self.releases.conninfo,
                    environment="local",
                    target=to,
                    weight=weight,
                    traffic=self.releases.traffic,
                    lease=lease.token,
                    actor="ann",
                    reason="a step",
                )
        self.shares = {d: s for d, s in ((self.live, 256 - share), (digest, share)) if s}

    def _remember(self) -> None:
        with connect(self.releases.conninfo) as conn:
            # The ledger's times never go back, and a machine's clock may.
            row = conn.execute(
                "SELECT greatest(clock_timestamp(), max(at)), max(n) FROM mlops.entry"
            ).fetchone()
        assert row is not None
        self.truths.append(Truth(row[0], row[1] or 0, self.live, dict(self.shares)))


@pytest.fixture(scope="module")
def written(postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Written]:
    """An environment where four releases stand ready and nothing was live."""
    with installed_environment(postgres_server) as environment:
        releases = Releases(environment, tmp_path_factory.mktemp("histories"))
        for tag in TAGS:
            releases.lock(tag, State())
            releases.prepare(tag)
        found = Written(releases)
        found._remember()
        yield found


_HISTORIES = st.lists(
    st.tuples(st.sampled_from(STEPS), st.sampled_from(TAGS), st.integers(0, 256)), min_size=1, max_size=8
)


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(steps=_HISTORIES)
def test_a_ledger_holds_its_laws_and_at_agrees_with_a_recorded_truth(
    written: Written, steps: list[tuple[str, str, int]]
) -> None:
    # Each example goes on where the last one ended: one long history, seen from more and more places.
    for step, tag, share in steps:
        written.do(step, tag, share)

    ledger = written.releases.environment.ledger
    with ledger.connect() as conn:
        _live_periods_follow_each_other(conn)
        for truth in [*written.truths[:3], *written.truths[-len(steps) - 1 :]]:
            for moment in (At(truth.at), *((Number(truth.n),) if truth.n else ())):
                found = read_moment(conn, "local", moment)
                assert (found.live.digest if found.live else None) == truth.live
                assert {weight.digest: weight.share for weight in found.weights} == truth.shares
        digests = [lock.digest for lock in written.releases.locks.values()]
        assert set(read_blocked(conn, "local", digests)) == written.blocked
        assert read_verdicts(conn, "local", digests) == written.verdicts
        assert (read_unfinished(conn, "local") is not None) == written.unfinished
    assert (ledger.hold() is not None) == written.held
    assert ledger.pointer().digest == written.live
    head = ledger.head()
    assert ledger.verify() == (head.n if head else 0)


def _live_periods_follow_each_other(conn: object) -> None:
    """No two releases are live at one instant, and none is in between: each period begins where the last ended."""
    newest_first = read_periods(conn, "local", limit=10_000, everything=False)  # type: ignore[arg-type]
    assert all(one.until is None or one.entry.at < one.until for one in newest_first)
    assert [one for one in newest_first if one.until is None] == newest_first[:1]
    for later, earlier in pairwise(newest_first):
        assert earlier.until == later.entry.at
        assert later.entry.epoch == (earlier.entry.epoch or 0) + 1
