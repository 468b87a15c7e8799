"""The programs that pods of a cluster run beside servers: relay, dumps, and the Jobs that make databases."""

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pydantic import SecretStr

from mlops_sdk.errors import InputError, MlopsError, PolicyError
from mlops_sdk.ledger import prefect_database
from mlops_sdk.platform import backup, relay
from mlops_sdk.provider import job
from mlops_sdk.stack.ports import free_ports
from tests.support.postgres import PostgresDatabase


@pytest.fixture
def server(postgres_database: PostgresDatabase) -> dict[str, str]:
    """A database of the test's own, as libpq's parts."""
    return {key: str(value) for key, value in conninfo_to_dict(postgres_database.conninfo()).items()}


def test_a_relay_joins_a_client_with_postgres_and_both_ends_may_go(server: dict[str, str]) -> None:
    (port,) = free_ports(1)

    def ask() -> list[int]:
        found = []
        for number in range(3):
            with psycopg.connect(make_conninfo(**{**server, "host": "127.0.0.1", "port": str(port)})) as conn:
                row = conn.execute("SELECT %s::int", [number]).fetchone()
                assert row
                found.append(row[0])
        return found

    async def run() -> list[int]:
        async with await relay.relay("127.0.0.1", port, (server["host"], int(server["port"]))):
            return await asyncio.to_thread(ask)

    assert asyncio.run(run()) == [0, 1, 2]


def test_a_relay_without_postgres_closes_the_connection() -> None:
    port, nobody = free_ports(2)

    async def run() -> bytes:
        async with await relay.relay("127.0.0.1", port, ("127.0.0.1", nobody)):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            got = await reader.read()
            writer.close()
            return got

    assert asyncio.run(run()) == b""


def test_a_dump_is_whole_or_is_not_there(server: dict[str, str], tmp_path: Path) -> None:
    now = datetime(2026, 1, 31, 2, 30, tzinfo=UTC)
    names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD"}
    libpq = {names[key]: value for key, value in server.items() if key in names}
    (made,) = backup.dump(tmp_path, [server["dbname"]], libpq, now)
    assert made.name == f"{server['dbname']}-20260131T023000Z.dump"
    assert made.read_bytes()[:5] == b"PGDMP"
    with pytest.raises(MlopsError, match="no_such_database"):
        backup.dump(tmp_path, ["no_such_database"], libpq, now)
    assert [path.name for path in tmp_path.iterdir()] == [made.name]


def test_dumps_expire_but_the_newest_of_a_database_never_does() -> None:
    now = datetime(2026, 2, 10, tzinfo=UTC)
    names = ["app-20260101T000000Z.dump", "app-20260102T000000Z.dump", "my-db-20260209T000000Z.dump"]
    assert backup.expired(names, timedelta(days=7), now) == ["app-20260101T000000Z.dump"]


def test_prefects_database_needs_an_extension_and_says_what_to_do_without(server: dict[str, str]) -> None:
    admin = SecretStr(make_conninfo(**server))
    with pytest.raises(PolicyError, match="pg_trgm") as caught:
        prefect_database.install(admin, "p" * 43)
    assert "prefectOnPostgres" in str(caught.value)


def test_a_job_says_which_variable_it_lacks_and_ends_with_the_errors_code(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLOPS_ENVIRONMENT", raising=False)
    assert job.main(["database"]) == InputError.exit_code
    assert "MLOPS_DATABASE_HOST" in capsys.readouterr().err
    assert job.main(["nonsense"]) == InputError.exit_code
    with contextlib.suppress(SystemExit):
        assert job.main(["work-pool", "/nowhere.json"]) == InputError.exit_code
