"""What clients saw while releases changed: moments read off a list of answers. Pure.

Times are those of time.monotonic, which all processes of a machine share.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Answer:
    """One answer: when it was asked for and when it was there, which release gave it, and its status code."""

    asked_s: float
    answered_s: float
    release: str
    code: int

    @property
    def failed(self) -> bool:
        """Whether a gate counts it as an error."""
        return self.code >= 500


def first_of(answers: Sequence[Answer], release: str, after_s: float) -> float:
    """When `release` first answered what was asked for after `after_s`. Raises ValueError if it never did."""
    found = [a.answered_s for a in answers if a.release == release and a.asked_s >= after_s]
    if not found:
        raise ValueError(f"{release} gave no answer")
    return min(found)


def gate_failed(answers: Sequence[Answer], release: str, *, at_most: float, min_samples: int) -> float:
    """When the answer was there with which `release` no longer passes a gate on the rate of errors.

    As the gate judges: below `min_samples` it fails once no later success could mend it. Raises ValueError if it
    passes all along.
    """
    total = errors = 0
    for answer in sorted(answers, key=lambda each: each.answered_s):
        if answer.release == release:
            total, errors = total + 1, errors + answer.failed
            if errors > at_most * max(total, min_samples):
                return answer.answered_s
    raise ValueError(f"{release} passes: {errors} of {total} answers were errors")


def left(answers: Sequence[Answer], release: str) -> float:
    """When the first answer of another release was there that was asked for after all of `release`.

    Raises ValueError if `release` gave none, or the last one.
    """
    last = max((a.asked_s for a in answers if a.release == release), default=None)
    after = [a.answered_s for a in answers if last is not None and a.asked_s > last]
    if last is None or not after:
        raise ValueError(f"{release} did not come and go")
    return min(after)
