"""The benches of releases' tables run whole, small."""

import pytest

from tools.bench.state.__main__ import run


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cut", "handover", "fork", "capture", "copies"])
def test_a_bench_finds_figures_and_leaves_no_server(name: str) -> None:
    results = run([name], quick=True)
    assert results.failed == []
    assert results.figures
    assert len(results.notes) >= 2
