"""What the janitor decides, from facts alone."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_sdk.state.keeping import Inventory, ReleaseFacts, TableFacts, sweep

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TABLES = ("a", "b")


@st.composite
def inventories(draw: st.DrawFn) -> Inventory:
    """Up to four releases, the last one live, each with forks of some tables and derived tables of some."""
    count = draw(st.integers(1, 4))
    truth = {table: draw(st.integers(0, count - 1)) for table in TABLES}
    releases = []
    for n in range(count):
        forks = frozenset(t for t in TABLES if draw(st.booleans()) or truth[t] == n)
        releases.append(
            ReleaseFacts(
                digest=f"d{n}",
                release=f"v{n}",
                status=draw(st.sampled_from(["bound", "cut", "unreferenced", "unreferenced"])),
                live=n == count - 1,
                pins=draw(st.sampled_from([(), (), ("because",)])),
                unreferenced_at=NOW - timedelta(seconds=60),
                retention_s={t: draw(st.sampled_from([0, 0, 3600])) for t in TABLES},
                forks=forks,
                truths=frozenset(t for t in TABLES if truth[t] == n),
            )
        )
    tables = [
        TableFacts(
            f"f{n}",
            "a",
            f"p_{n}",
            users=frozenset(r.digest for r in releases if draw(st.booleans())),
            alive=draw(st.booleans()),
        )
        for n in range(draw(st.integers(0, 3)))
    ]
    return Inventory(NOW, tuple(releases), tuple(tables))


@settings(max_examples=60)
@given(inventories())
def test_only_what_nobody_wants_is_dropped_and_the_rest_has_a_reason(facts: Inventory) -> None:
    found = sweep(facts)
    gone = {item.key for item in found.drops if item.kind == "release"}
    for release in facts.releases:
        if release.status != "unreferenced" or release.live or release.pins:
            assert release.digest not in gone
        if release.status == "unreferenced" and release.digest not in gone:
            assert any(left.name == release.release and left.why for left in found.left)
    for table in facts.tables:
        if any(item.key == table.fingerprint for item in found.drops):
            assert table.users <= gone
            assert not table.alive


@settings(max_examples=60)
@given(inventories())
def test_a_release_that_stays_never_follows_one_that_goes(facts: Inventory) -> None:
    gone = {item.key for item in sweep(facts).drops if item.kind == "release"}
    for release in facts.releases:
        for other in facts.releases:
            if release.digest in gone and other.digest not in gone:
                assert not release.truths & other.forks


@settings(max_examples=60)
@given(inventories())
def test_a_second_run_finds_nothing_more(facts: Inventory) -> None:
    first = sweep(facts)
    gone = {item.key for item in first.drops}
    releases = {release.digest: release for release in facts.releases}

    def left(table: TableFacts) -> TableFacts:
        """What a run makes of it: releases that go leave it their retention."""
        until = [releases[digest].keep_until([table.table]) for digest in table.users & gone]
        return replace(table, users=table.users - gone, keep_until=max(until, default=None))

    after = replace(
        facts,
        releases=tuple(r for r in facts.releases if r.digest not in gone),
        tables=tuple(left(table) for table in facts.tables if table.fingerprint not in gone),
    )
    assert [item for item in sweep(after).drops if item.kind in ("release", "derived")] == []


@settings(max_examples=60)
@given(inventories(), st.integers(0, 3))
def test_a_pin_only_ever_keeps_more(facts: Inventory, which: int) -> None:
    pinned = tuple(replace(r, pins=("because",)) if n == which else r for n, r in enumerate(facts.releases))
    assert set(sweep(replace(facts, releases=pinned)).drops) <= set(sweep(facts).drops)
