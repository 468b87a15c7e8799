"""The service's connections to the release database, as the release's own role.

Connections are checked before use, so that a restart of Postgres costs no request more than it must.
"""

from psycopg_pool import AsyncConnectionPool

from mlops_sdk.runtime.settings import ServiceSettings

MAX_CONNECTIONS = 4
WAIT_S = 3.0


def create_pool(settings: ServiceSettings) -> AsyncConnectionPool:
    """A closed pool of at most `MAX_CONNECTIONS`, autocommitting: a write opens its own transaction.

    Getting a connection raises PoolTimeout (an OperationalError) after `WAIT_S`.
    """
    return AsyncConnectionPool(
        settings.database_conninfo().get_secret_value(),
        # No prepared statements: a transaction pooler between service and Postgres would mix them up.
        kwargs={"autocommit": True, "prepare_threshold": None, "connect_timeout": 3},
        min_size=1,
        max_size=MAX_CONNECTIONS,
        timeout=WAIT_S,
        # A failed attempt is repeated after 1, 2, 4 ... seconds, but never given up: Postgres may come back.
        reconnect_timeout=30.0,
        check=AsyncConnectionPool.check_connection,
        open=False,
        name="service",
    )
