"""Compares predictions. Pure: plain JSON values in, what differs out."""

import math

DEFAULT_TOLERANCE = 1e-6


def compare(expected: object, got: object, tolerance: float = DEFAULT_TOLERANCE) -> bool:
    """Whether two answers agree; `differences` says where they do not."""
    return not differences(expected, got, tolerance)


def differences(expected: object, got: object, tolerance: float = DEFAULT_TOLERANCE) -> tuple[str, ...]:
    """What differs between two answers, one line each with its place; empty if they agree.

    Numbers agree within `tolerance`, relative or absolute; 1 and 1.0 are one number, True and 1 are not.
    Text, null, lengths and keys agree exactly.
    """
    return tuple(_differences(expected, got, tolerance, "output"))


def _differences(expected: object, got: object, tolerance: float, place: str) -> list[str]:
    if _is_number(expected) and _is_number(got):
        assert isinstance(expected, int | float) and isinstance(got, int | float)
        close = math.isclose(expected, got, rel_tol=tolerance, abs_tol=tolerance)
        return [] if close else [f"{place}: expected {expected!r}, got {got!r}"]
    if isinstance(expected, list) and isinstance(got, list):
        if len(expected) != len(got):
            return [f"{place}: expected {len(expected)} values, got {len(got)}"]
        pairs = zip(expected, got, strict=True)
        return [
            line
            for index, (one, other) in enumerate(pairs)
            for line in _differences(one, other, tolerance, f"{place}[{index}]")
        ]
    if isinstance(expected, dict) and isinstance(got, dict):
        if set(expected) != set(got):
            return [f"{place}: expected the keys {sorted(expected)}, got {sorted(got)}"]
        return [
            line
            for key in sorted(expected)
            for line in _differences(expected[key], got[key], tolerance, f"{place}.{key}")
        ]
    agree = type(expected) is type(got) and expected == got
    return [] if agree else [f"{place}: expected {_short(expected)}, got {_short(got)}"]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
