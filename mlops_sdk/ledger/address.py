"""Addresses of moments in an environment's history: `local`, `local#4`, `local~1`, `local@{2.hours.ago}`.

Pure: it says what was asked for; the ledger finds it.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from mlops_sdk.errors import InputError

_ADDRESS = re.compile(r"(?P<env>[a-z][a-z0-9-]*)(?:#(?P<n>\d+)|~(?P<back>\d+)|@\{(?P<time>[^{}]+)\})?")
_AGO = re.compile(r"(?P<count>\d+)\.(?P<unit>second|minute|hour|day|week)s?\.ago")
_FORMS = "ENV, ENV#ENTRY, ENV~RELEASES_AGO, ENV@{2026-01-01T12:00} or ENV@{2.hours.ago}"


@dataclass(frozen=True)
class Head:
    """What is live now."""


@dataclass(frozen=True)
class Number:
    """What was live when entry `n` was written."""

    n: int


@dataclass(frozen=True)
class Back:
    """What was live `count` changes of the live release ago; 0 is now."""

    count: int


@dataclass(frozen=True)
class At:
    """What was live at a time (with a time zone)."""

    time: datetime


@dataclass(frozen=True)
class Address:
    """An environment and a moment of its history."""

    environment: str
    moment: Head | Number | Back | At


def parse(text: str, *, now: datetime) -> Address:
    """The address that `text` spells. `now` (with a time zone) is what `ago` counts from.

    A time without a zone is UTC. Raises InputError for anything else.
    """
    found = _ADDRESS.fullmatch(text)
    if found is None:
        raise InputError(f"{text!r} is not an address", remedy=f"write {_FORMS}")
    environment = found["env"]
    if found["n"] is not None:
        return Address(environment, Number(int(found["n"])))
    if found["back"] is not None:
        return Address(environment, Back(int(found["back"])))
    if found["time"] is not None:
        return Address(environment, At(_time(found["time"], text, now)))
    return Address(environment, Head())


def _time(spelled: str, text: str, now: datetime) -> datetime:
    ago = _AGO.fullmatch(spelled)
    try:
        if ago is not None:
            return now - timedelta(**{f"{ago['unit']}s": int(ago["count"])})
        time = datetime.fromisoformat(spelled)
    except (ValueError, OverflowError) as error:
        raise InputError(
            f"{text!r} has no time that can be read: {spelled!r}",
            remedy="write 2026-01-01T12:00 (UTC), 2026-01-01T12:00+01:00 or 2.hours.ago",
        ) from error
    return time if time.tzinfo else time.replace(tzinfo=UTC)
