"""The one tree of exceptions of the SDK. Each carries the exit code that `mlops` ends with.

    MlopsError 1
    ├── InputError 2              what a person wrote is wrong
    │   └── ManifestError         every fault of a release manifest at once
    ├── AuthError 3               a server refused the credentials
    ├── UnreachableError 1        a server did not answer
    ├── PolicyError 5             well formed, but not allowed
    ├── NotFoundError 6           a model, release, ref, environment ... does not exist
    ├── UnexpectedChangesError 7  changes where none were expected
    ├── CancelledError 8          stopped by a person
    ├── DeadlineError 9           not done within its time
    ├── TurnedBackError 20        failed, and what had been done was turned back
    ├── NotTurnedBackError 21     failed, and could not be turned back
    ├── LeaseHeldError 22         another deployer holds the environment
    ├── GatePendingError 23       a gate has not decided yet
    ├── FrozenError 24            a hold forbids the change
    └── MovedError 25             a plan or a stack's `basis` is older than the environment

A message says what is wrong, where, and what to do next. Secrets never enter a message.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


class MlopsError(Exception):
    """Base of everything the SDK raises on purpose.

    `what` is one sentence about the fault, `where` names file, server or resource (or is empty),
    `remedy` says what a person does next (or is empty).
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, *, where: str = "", remedy: str = "") -> None:
        self.what = what
        self.where = where
        self.remedy = remedy
        super().__init__(self._message())

    def _message(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text}\n  {self.remedy}" if self.remedy else text


class InputError(MlopsError):
    """What a person wrote (argument, file, setting) is wrong."""

    exit_code = 2


@dataclass(frozen=True)
class Fault:
    """One fault of a file: `line` counts from 1, `key` is the dotted path of the value."""

    file: str
    line: int
    key: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.key}: {self.what}; {self.remedy}"


class ManifestError(InputError):
    """Every fault of a release manifest, in the order of its lines."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(sorted(faults, key=lambda fault: (fault.file, fault.line, fault.key)))
        super().__init__("\n".join(str(fault) for fault in self.faults))


class AuthError(MlopsError):
    """A server refused the credentials it was shown."""

    exit_code = 3


class UnreachableError(MlopsError):
    """A server did not answer: nothing is known about what it holds."""


class PolicyError(MlopsError):
    """Well formed, but the rules of the product or of the project do not allow it."""

    exit_code = 5


class NotFoundError(MlopsError):
    """Something that was named does not exist."""

    exit_code = 6


class UnexpectedChangesError(MlopsError):
    """A plan or preview has changes where none were expected."""

    exit_code = 7


class CancelledError(MlopsError):
    """A person stopped the command."""

    exit_code = 8


class DeadlineError(MlopsError):
    """Not done within the time it had."""

    exit_code = 9


class TurnedBackError(MlopsError):
    """A change failed, and what it had done was turned back. The first error is the cause."""

    exit_code = 20


class NotTurnedBackError(MlopsError):
    """A change failed, and turning it back failed too. The first error is the cause."""

    exit_code = 21


class LeaseHeldError(MlopsError):
    """Another deployer holds the environment."""

    exit_code = 22


class GatePendingError(MlopsError):
    """A gate has not decided yet."""

    exit_code = 23


class FrozenError(MlopsError):
    """A hold forbids the change."""

    exit_code = 24


class MovedError(MlopsError):
    """A saved plan or the `basis` of stack config is older than what the ledger says."""

    exit_code = 25
