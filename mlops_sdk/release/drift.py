"""How far two samples of values are apart: the population stability index. Pure.

For predictions of two releases, and for data against the sample that a model was trained on.
"""

import bisect
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

_SAMPLES_PER_BIN = 20
_MOST_BINS = 10
_ROOT = "value"


def stability_index(reference: Sequence[object], sample: Sequence[object], *, samples: int = 0) -> float:
    """The population stability index of `sample` against `reference`; 0.0 when one of them is empty.

    PSI = sum over bins of (p - q) ln(p / q), with p and q the shares of the two samples (N. Siddiqi, Credit Risk
    Scorecards, 2006). Numbers are binned by the quantiles of the reference, all else by its commonest values. Half a
    count is added to each bin, and there are no more bins than the smaller sample (or `samples`, where values of one
    answer are not independent) fills: the index of two samples of one distribution stays below about 0.1.
    """
    if not reference or not sample:
        return 0.0
    bins = bins_for(samples or min(len(reference), len(sample)))
    here, there = _numbers(reference), _numbers(sample)
    if here is not None and there is not None:
        edges = _edges(here, bins)
        old = Counter(bisect.bisect_left(edges, value) for value in here)
        new = Counter(bisect.bisect_left(edges, value) for value in there)
        return _index(old, new, range(len(edges) + 1))
    common = [value for value, _ in Counter(map(_text, reference)).most_common(bins - 1)]
    places = {value: place for place, value in enumerate(common)}
    rest = len(common)
    old = Counter(places.get(_text(value), rest) for value in reference)
    new = Counter(places.get(_text(value), rest) for value in sample)
    return _index(old, new, range(rest + 1))


def bins_for(smaller: int) -> int:
    """How many bins samples fill of which the smaller one has so many values."""
    return max(2, min(_MOST_BINS, smaller // _SAMPLES_PER_BIN))


def index_of_counts(reference: Sequence[int], sample: Sequence[int]) -> float:
    """The index of two samples that were counted in the same bins."""
    return _index(
        Counter(dict(enumerate(reference))), Counter(dict(enumerate(sample))), range(len(reference))
    )


def prediction_drift(reference: Sequence[object], sample: Sequence[object]) -> Mapping[str, float]:
    """The index of each part of predictions (JSON values): of `{"a": [1, 2]}` the part is `a[]`."""
    old, new = _parts(reference), _parts(sample)
    fewest = min(len(reference), len(sample))
    return {part: stability_index(old[part], new[part], samples=fewest) for part in old if part in new}


def _parts(values: Iterable[object]) -> dict[str, list[object]]:
    found: dict[str, list[object]] = {}
    for value in values:
        for part, leaf in _leaves(value, ""):
            found.setdefault(part or _ROOT, []).append(leaf)
    return found


def _leaves(value: object, part: str) -> Iterable[tuple[str, object]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, f"{part}.{key}" if part else str(key))
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner, f"{part}[]")
    else:
        yield part, value


def _edges(values: list[float], bins: int) -> list[float]:
    """The inner quantiles, each once: a value that is very common is a bin of its own."""
    ordered = sorted(values)
    return sorted({ordered[len(ordered) * k // bins] for k in range(1, bins)})


def _index(old: Counter[int], new: Counter[int], places: range) -> float:
    total = 0.0
    for place in places:
        p = (new[place] + 0.5) / (new.total() + 0.5 * len(places))
        q = (old[place] + 0.5) / (old.total() + 0.5 * len(places))
        total += (p - q) * math.log(p / q)
    return total


def _numbers(values: Sequence[object]) -> list[float] | None:
    """The values as numbers, or None when one is none."""
    found = [
        float(value) for value in values if isinstance(value, int | float) and not isinstance(value, bool)
    ]
    return found if len(found) == len(values) and all(map(math.isfinite, found)) else None


def _text(value: object) -> str:
    return json.dumps(value, sort_keys=True)
