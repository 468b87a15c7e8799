"""Addresses of moments in an environment's history: `local`, `local#4`, `local~1`, `local@{2.hours.ago}`.

Pure: it says what was asked for; the ledger finds it.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from mlops_sdk.errors import InputError

_ENVIRONMENT = re.compile(r"[a-z][a-z0-9-]*")
_AGO = re.compile(r"(?P<count>\d+)\.(?P<unit>second|minute|hour|day|week)s?\.ago")
_FORMS = "ENV, ENV#ENTRY, ENV~RELEASES_AGO, ENV@{2026-01-01T12:00} or ENV@{2.hours.ago}"
_TIMES = "2026-01-01T12:00 (UTC), 2026-01-01T12:00+01:00 or 2.hours.ago"


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


When = Head | Number | Back | At


@dataclass(frozen=True)
class Address:
    """An environment and a moment of its history."""

    environment: str
    moment: When


def parse(text: str, *, now: datetime) -> Address:
    """The address that `text` spells. `now` (with a time zone) is what `ago` counts from.

    A time without a zone is UTC. Raises InputError for anything else.
    """
    environment = re.split("[#~@]", text, maxsplit=1)[0]
    mark, rest = text[len(environment) : len(environment) + 1], text[len(environment) + 1 :]
    if not _ENVIRONMENT.fullmatch(environment):
        wrong = f"{environment!r} is no environment" if environment else "it names no environment"
        raise _malformed(text, f"{wrong}: a-z, 0-9 and -, a letter first", _FORMS)
    match mark:
        case "#":
            return Address(environment, Number(_count(rest, text, "the number of an entry", "#42")))
        case "~":
            return Address(environment, Back(_count(rest, text, "how many releases ago", "~1")))
        case "@":
            return Address(environment, At(_time(_braced(rest, text), text, now)))
    return Address(environment, Head())


def _count(digits: str, text: str, meaning: str, example: str) -> int:
    environment = re.split("[#~]", text, maxsplit=1)[0]
    if not re.fullmatch("[0-9]{1,18}", digits):
        raise _malformed(text, f"after {example[0]} comes {meaning}, not {digits!r}", environment + example)
    return int(digits)


def _braced(rest: str, text: str) -> str:
    if not (rest.startswith("{") and rest.endswith("}")) or re.search("[{}]", rest[1:-1]):
        example = f"{text.partition('@')[0]}@{{2.hours.ago}}"
        raise _malformed(
            text, "a time stands in braces after @", f"{example}, in quotes: a shell reads braces"
        )
    return rest[1:-1]


def _time(spelled: str, text: str, now: datetime) -> datetime:
    ago = _AGO.fullmatch(spelled)
    try:
        if ago is not None:
            return now - timedelta(**{f"{ago['unit']}s": int(ago["count"])})
        time = datetime.fromisoformat(spelled)
    except (ValueError, OverflowError) as error:
        raise _malformed(text, f"it has no time that can be read: {spelled!r}", _TIMES) from error
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _malformed(text: str, what: str, example: str) -> InputError:
    return InputError(f"{text!r} is not an address: {what}", remedy=f"write {example}")
