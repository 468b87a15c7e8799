"""What the benches of the release engine read off answers, and the history that they write."""

from datetime import UTC, datetime

import pytest

from mlops_sdk.ledger.entries import Entry, verify_chain
from tests.support.locks import make_lock
from tools.bench.long_ledger import DEPLOY, deploys
from tools.bench.release.answers import Answer, first_of, gate_failed, left
from tools.bench.release.pairs import pairs, ratios


def answers(*given: tuple[float, str, int]) -> list[Answer]:
    """Answers by time, release and code; each took 0.1 s."""
    return [Answer(asked, asked + 0.1, release, code) for asked, release, code in given]


def test_traffic_is_back_with_the_first_answer_to_what_was_asked_after_the_command() -> None:
    seen = answers((0.0, "old", 200), (1.0, "new", 200), (2.0, "old", 200), (3.0, "old", 200))
    assert first_of(seen, "old", after_s=1.0) == pytest.approx(2.1)
    with pytest.raises(ValueError, match="new gave no answer"):
        first_of(seen, "new", after_s=2.0)


def test_a_gate_fails_with_the_answer_that_is_one_error_too_many() -> None:
    good = [(float(n), "new", 200) for n in range(40)]
    seen = answers(*good, (40.0, "new", 500), (41.0, "live", 500), (42.0, "new", 500), (43.0, "new", 500))
    assert gate_failed(seen, "new", at_most=0.04, min_samples=20) == pytest.approx(42.1)
    with pytest.raises(ValueError, match="new passes: 3 of 43"):
        gate_failed(seen, "new", at_most=0.1, min_samples=20)


def test_below_the_samples_that_it_needs_a_gate_fails_once_nothing_can_mend_it() -> None:
    seen = answers((0.0, "new", 500), (1.0, "new", 500))
    assert gate_failed(seen, "new", at_most=0.05, min_samples=20) == pytest.approx(1.1)


def test_a_release_is_left_when_what_was_asked_after_all_of_it_is_answered() -> None:
    slow = Answer(1.0, 9.0, "old", 200)
    seen = [*answers((0.0, "new", 200), (2.0, "new", 200), (3.0, "old", 200)), slow]
    assert left(seen, "new") == pytest.approx(3.1)
    with pytest.raises(ValueError, match="did not come and go"):
        left(seen, "old")
    with pytest.raises(ValueError, match="did not come and go"):
        left(seen, "nobody")


def test_pairs_take_turns_at_being_first_and_a_warm_up_is_not_counted() -> None:
    ran: list[str] = []

    def run(name: str) -> float:
        ran.append(name)
        return float(len(ran))

    ours, bare = pairs(2, lambda: run("ours"), lambda: run("bare"), warm=True)
    assert ran == ["bare", "ours", "ours", "bare", "bare", "ours"]
    assert (ours, bare) == ([3.0, 6.0], [4.0, 5.0])
    assert ratios(ours, bare) == [0.75, 1.2]


def test_a_history_goes_on_from_the_head_and_ends_with_what_is_live() -> None:
    first = make_lock("v0.0.1")
    head = Entry("local", 1, None, datetime.now(UTC), "live", first.digest, 7, "ann", "", "", {})
    locks = [make_lock("v0.0.2"), make_lock("v0.0.3"), first]
    written = list(deploys(locks, 3 * len(DEPLOY) + 3, head=head, epoch=7))

    verify_chain([head, *written])
    assert written[-1].n == 3 * len(DEPLOY) + 4
    live = [entry for entry in written if entry.kind == "live"]
    assert [entry.digest for entry in live] == [lock.digest for lock in locks]
    assert [entry.epoch for entry in live] == [8, 9, 10]
    assert all(entry.at > before.at for before, entry in zip([head, *written], written, strict=False))
