"""Times, sizes and digests as the page spells them. Pure."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta


@dataclass(frozen=True)
class Moment:
    """A time: for machines, for people, how long ago it was, and how long that is."""

    iso: str
    text: str
    ago: str
    passed: str


def moment(time: datetime, now: datetime) -> Moment:
    """Return `time` as it is shown at `now`."""
    utc = time.astimezone(UTC)
    return Moment(
        iso=utc.isoformat(timespec="seconds").replace("+00:00", "Z"),
        text=f"{utc:%Y-%m-%d %H:%M:%S} UTC",
        ago=ago(now - time),
        passed=spell(now - time) if now - time >= timedelta(minutes=1) else "less than a minute",
    )


def ago(passed: timedelta) -> str:
    """How long ago, in the largest unit that fits: coarse, so that the words seldom change."""
    seconds = passed.total_seconds()
    if seconds < 60:
        return "just now"
    return f"{spell(passed)} ago"


def spell(passed: timedelta) -> str:
    """A duration in its largest unit."""
    seconds = max(0, int(passed.total_seconds()))
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def short_digest(digest: str) -> str:
    """The first 12 digits, as `mlops status` shows them."""
    return digest.removeprefix("sha256:")[:12]


def size(count: int) -> str:
    """Bytes, to three digits."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def first_line(text: str) -> str:
    """The first line of a reason, as `mlops history` shows it."""
    first, *more = text.splitlines() or [""]
    return f"{first} ..." if more else first
