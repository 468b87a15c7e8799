"""Statistics and rendering of benchmarks, and what a watch sees."""

from typing import Any

import pytest

from tools.bench.figures import Bar, Figure, percentile, rounded, table
from tools.bench.page import page
from tools.bench.state.watch import Watch, slowest


def test_a_percentile_is_a_value_that_was_seen() -> None:
    assert percentile([float(n) for n in range(1, 201)], 99) == 198
    assert percentile([3.0, 1.0, 2.0], 99) == 3
    assert percentile([3.0, 1.0, 2.0], 50) == 2
    assert percentile([7.0], 1) == 7


@pytest.mark.parametrize(
    ("value", "shown"), [(0.012345, 0.0123), (1.2345, 1.23), (123.456, 123), (98765.4, 98765), (0.0, 0.0)]
)
def test_figures_have_three_digits(value: float, shown: float) -> None:
    assert rounded(value) == shown


def test_a_bar_holds_the_statistic_that_it_names() -> None:
    values = [1.0] * 50 + [100.0] * 2
    assert Figure("f", "how", "ms", values, Bar(50)).met is True
    assert Figure("f", "how", "ms", values, Bar(50, "p99")).met is False
    assert Figure("f", "how", "ms", [*values, *[1.0] * 200], Bar(50, "most")).met is False
    assert Figure("f", "how", "ms", values).met is None


def test_a_figure_without_values_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing was measured"):
        Figure("f", "how", "ms", [])


def test_a_missed_bar_is_seen_in_the_table() -> None:
    missed = Figure("locks held", "8 writers", "ms", [10, 2000], Bar(50, "p99")).document()
    (line,) = table([missed])[2:]
    assert line == "| locks held | 8 writers | 1,005 ms | 10-2,000 | 2,000 | 2 | p99 at most 50 ms | **no** |"


def test_a_page_has_the_parts_of_both_benches() -> None:
    found: dict[str, Any] = {
        "command": "make x",
        "machine": "a machine",
        "day": "2026-01-01",
        "notes": ["so"],
    }
    found["figures"] = [Figure("cut", "how", "ms", [1.5]).document()]
    text = page({"start": found, "state": found})
    assert text.count("Measured on 2026-01-01 by `make x`: a machine.") == 2
    assert text.count("| cut | how | 1.5 ms | 1.5-1.5 |") == 2
    assert text.endswith("* so\n")


def test_a_watch_names_the_kinds_of_statement_that_took_longest() -> None:
    statements = [("SELECT 1 FROM a", 0.001), ("GRANT SELECT ON b", 0.2), ("GRANT SELECT ON c", 0.3)]
    assert slowest(statements, 1) == "2 x GRANT SELECT ON: 500.0 ms"


def test_a_watch_tells_what_was_sent_while_locks_were_held_for_longest() -> None:
    sent = [[("GRANT a", 0.01)], [("DELETE b", 0.02), ("GRANT b", 0.01)]]
    found = Watch(held_s=[0.02, 0.04], under_locks=sent).longest()
    assert found[:-1] == sent[1]
    assert found[-1] == ("", pytest.approx(0.01))
