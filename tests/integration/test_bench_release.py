"""The benches of the release engine: a ledger is made long as it becomes long, and each bench runs whole, small."""

import pytest

from mlops_sdk.errors import MlopsError
from tests.support.asked import Asked
from tools.bench.release.__main__ import BENCHES, run
from tools.bench.release.lengthen import lengthen


def test_a_ledger_that_was_made_long_holds_and_what_is_live_is_what_was(asked: Asked) -> None:
    ledger = asked.environment.ledger
    before = ledger.pointer()

    releases = lengthen(ledger, to=100)

    assert ledger.verify() == 100
    after = ledger.pointer()
    assert after.digest == before.digest
    assert len(ledger.bindings(retired=True)) == releases
    assert len(ledger.bindings()) == 2
    assert after.epoch - before.epoch == releases - 2 + 1
    ledger.record("verified", lease=None, digest=after.digest)
    assert ledger.verify() == 101


def test_a_ledger_that_is_long_already_is_left_alone(asked: Asked) -> None:
    with pytest.raises(MlopsError, match="long already"):
        lengthen(asked.environment.ledger, to=10)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_bench_finds_figures_and_says_on_what() -> None:
    results = run(list(BENCHES), quick=True)
    assert results.failed == []
    assert len(results.notes) == len(BENCHES) + 2
