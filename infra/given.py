"""Parts of the platform that are not the environment's own, by the URLs that stack config gives. Pure.

A URL is never quoted in a message: that of Postgres has a password.
"""

from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

import pulumi

from mlops_sdk.errors import InputError

POSTGRES_PORT = 5432


@dataclass(frozen=True)
class PostgresServer:
    """A server that somebody else runs. `admin` is an administrator's URL; `host` and `port` are those in it."""

    host: str
    port: int
    admin: pulumi.Output[str]


@dataclass(frozen=True)
class Webhook:
    """Who is told when something is wrong. `url` may carry a token; `port` is the one in it."""

    port: int
    url: pulumi.Output[str]


@dataclass(frozen=True)
class Given:
    """What stack config gives; None: the environment makes its own. `prefect` is the address of the API.

    Of `alerts` the environment makes none: without it nobody is told.
    """

    postgres: PostgresServer | None = None
    mlflow: str | None = None
    prefect: str | None = None
    alerts: Webhook | None = None

    @property
    def ports(self) -> tuple[int, ...]:
        """The TCP ports outside of the environment that its processes ask."""
        found = {_port(urlsplit(url)) for url in (self.mlflow, self.prefect) if url}
        found |= {one.port for one in (self.postgres, self.alerts) if one}
        return tuple(sorted(found))


def http_url(text: str) -> str:
    """The address of a server that speaks HTTP, without a slash at its end. Raises InputError."""
    parts = _split(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError("is no address such as http://127.0.0.1:5000")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise InputError(
            "is more than scheme, host, port and path: it is shown, so no secret belongs into it"
        )
    return text.rstrip("/")


def webhook(text: str) -> Webhook:
    """The webhook that an address names. Raises InputError."""
    parts = _split(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError("is no address such as https://chat.example/hooks/TOKEN")
    return Webhook(_port(parts), pulumi.Output.secret(text))


def prefect_url(text: str) -> str:
    """The address of Prefect's API; `/api` is added where the server's own is given. Raises InputError."""
    url = http_url(text)
    return url if url.endswith("/api") else f"{url}/api"


def postgres_server(text: str) -> PostgresServer:
    """The server that an administrator's URL names. Raises InputError."""
    parts = _split(text)
    if parts.scheme not in ("postgres", "postgresql") or not parts.hostname or not parts.username:
        raise InputError("is no address such as postgresql://ADMINISTRATOR:PASSWORD@HOST:5432")
    return PostgresServer(parts.hostname, parts.port or POSTGRES_PORT, pulumi.Output.secret(text))


def _port(parts: SplitResult) -> int:
    return parts.port or (443 if parts.scheme == "https" else 80)


def _split(text: str) -> SplitResult:
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018 - it is parsed when it is asked for
    except ValueError:
        # `from None`: the original error may quote the URL.
        raise InputError("is no URL") from None
    return parts
