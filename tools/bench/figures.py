"""One measured figure, its statistics and its line in a table. Pure."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Bar:
    """What a figure is held against: its `median`, `p99` or `most` is at most `limit`, in the figure's unit.

    With `at_least`, it is not below.
    """

    limit: float
    of: Literal["median", "p99", "most"] = "median"
    at_least: bool = False


@dataclass(frozen=True)
class Figure:
    """One measured figure: `values` are those of its runs, in `unit`; `how` is the command or the method."""

    name: str
    how: str
    unit: str
    values: Sequence[float] = field(repr=False)
    bar: Bar | None = None

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError(f"nothing was measured for {self.name}")

    @property
    def median(self) -> float:
        """The middle of the values."""
        return statistics.median(self.values)

    @property
    def p99(self) -> float:
        """The value that 99 % of the values do not exceed."""
        return percentile(self.values, 99)

    @property
    def met(self) -> bool | None:
        """Whether the bar is met; None without a bar."""
        if self.bar is None:
            return None
        held = {"median": self.median, "p99": self.p99, "most": max(self.values)}
        found = held[self.bar.of]
        return found >= self.bar.limit if self.bar.at_least else found <= self.bar.limit

    def document(self) -> dict[str, Any]:
        """The figure as JSON: statistics, not each value."""
        return {
            "name": self.name,
            "how": self.how,
            "unit": self.unit,
            "median": rounded(self.median),
            "least": rounded(min(self.values)),
            "most": rounded(max(self.values)),
            "p99": rounded(self.p99),
            "runs": len(self.values),
            "bar": asdict(self.bar) if self.bar else None,
            "met": self.met,
        }


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least `percent` % of the values do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def rounded(value: float) -> float:
    """Three significant digits, for more of them would be chance; whole numbers from 100 on."""
    if value == 0 or not math.isfinite(value):
        return value
    return round(value, max(0, 2 - math.floor(math.log10(abs(value)))))


def table(documents: Sequence[dict[str, Any]]) -> list[str]:
    """A Markdown table of figures in their JSON form."""
    lines = ["| what | how | median | range | p99 | runs | bar | met |", "|---|---|---|---|---|---|---|---|"]
    return lines + [_line(document) for document in documents]


def _line(figure: dict[str, Any]) -> str:
    bar, unit = figure["bar"], figure["unit"]
    # Of a few values the 99th percentile is the greatest, which the range shows.
    p99 = _shown(figure["p99"]) if figure["runs"] >= 20 or (bar and bar["of"] == "p99") else ""
    cells = [
        figure["name"],
        figure["how"],
        f"{_shown(figure['median'])} {unit}".strip(),
        f"{_shown(figure['least'])}-{_shown(figure['most'])}",
        p99,
        str(figure["runs"]),
        _bar(bar, unit) if bar else "",
        {True: "yes", False: "**no**", None: ""}[figure["met"]],
    ]
    return f"| {' | '.join(cells)} |"


def _bar(bar: dict[str, Any], unit: str) -> str:
    of = "" if bar["of"] == "most" else f"{bar['of']} "
    side = "least" if bar.get("at_least") else "most"
    return f"{of}at {side} {_shown(bar['limit'])} {unit}".strip()


def _shown(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:g}"
