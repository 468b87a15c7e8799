"""Which dates a flow asks for. A day is one of UTC; a job may read its date in a calendar of its own."""

from datetime import UTC, date, datetime, timedelta

from mlops_sdk.errors import InputError
from mlops_sdk.messaging.outcome import RefusedError


def today_utc() -> date:
    """The day that it is in UTC."""
    return datetime.now(UTC).date()


def refuse_future(day: date, *, today: date | None = None) -> None:
    """Raise RefusedError for a date after today (UTC). For a job to call first: its message is not tried again."""
    if day > (today or today_utc()):
        raise RefusedError(f"{day} is in the future: what is not over has no data")


def last_days(count: int = 1, *, today: date | None = None) -> list[date]:
    """The `count` days before today (UTC), oldest first: a date that a killed run left is asked for again."""
    end = today or today_utc()
    return [end - timedelta(days=back) for back in range(count, 0, -1)]


def days_between(first: date, last: date) -> list[date]:
    """Every day from `first` to `last`. Raises InputError when the last comes before the first."""
    if last < first:
        raise InputError(
            f"{last} is before {first}", where="last", remedy="name the first date, then the last"
        )
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]
