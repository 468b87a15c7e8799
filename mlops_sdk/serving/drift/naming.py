"""Names of runs: what was done, and when (UTC, to the millisecond: two at once have two names)."""

from datetime import UTC, datetime


def stamp(now: datetime | None = None) -> str:
    """The time in a run's name: `20261127T201500.123Z`."""
    now = (now or datetime.now(UTC)).astimezone(UTC)
    return f"{now:%Y%m%dT%H%M%S}.{now.microsecond // 1000:03d}Z"


def run_name(kind: str, now: datetime | None = None) -> str:
    """`train_{datetime}`, `infer_{datetime}`, `eval_{datetime}`."""
    return f"{kind}_{stamp(now)}"


def drift_run_name(model: str, version: int, now: datetime | None = None) -> str:
    """`drift_{model}_{version}_{datetime}`."""
    return f"drift_{model}_{version}_{stamp(now)}"
