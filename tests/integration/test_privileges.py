"""What docs/reference/privileges.md lets an administrator run is enough for the whole life of releases."""

import re
import subprocess
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from psycopg import sql
from pydantic import SecretStr

from mlops_sdk.errors import AuthError
from mlops_sdk.ledger.administer import LOGIN_ROLES, administer, privileges_sql, scram_verifier
from mlops_sdk.ledger.install import install_tables
from mlops_sdk.platform.postgres_binaries import find_binaries
from mlops_sdk.runtime.passwords import derive
from mlops_sdk.state import BuildContext, Derived, Forked, Shared, Source, State, janitor, references
from mlops_sdk.state.doctor import judge
from mlops_sdk.state.examine import examine
from tests.support.environment import MASTER_KEY, Environment
from tests.support.postgres import ADMINISTRATOR, PostgresDatabase, PostgresServer, running_server
from tests.support.releases import Releases
from tests.support.tables import content, interactions, metadata, users

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "privileges.md"
BLOCK = re.compile(r"```sql (\w+)\n(.*?)```", re.DOTALL)
APP = 'odd "app"'


def blocks() -> dict[str, str]:
    return dict(BLOCK.findall(PAGE.read_text(encoding="utf-8")))


def test_the_page_shows_what_the_code_runs(pytestconfig: pytest.Config) -> None:
    names = {file.name[:-4] for file in files("mlops_sdk.ledger").joinpath("privileges").iterdir()}
    if pytestconfig.getoption("--update-golden"):
        page = PAGE.read_text(encoding="utf-8")
        PAGE.write_text(
            BLOCK.sub(lambda b: f"```sql {b[1]}\n{privileges_sql(b[1])}```", page), encoding="utf-8"
        )
    assert blocks() == {name: privileges_sql(name) for name in names}


@pytest.fixture(scope="module", params=[18, 16, 15])
def prepared(request: pytest.FixtureRequest) -> Iterator[PostgresServer]:
    """An empty server on which somebody has done by hand, with psql, what the page says."""
    major: int = request.param
    with running_server(major) as server:
        run(server, major, "postgres", "roles")
        run(server, major, "postgres", "memberships" if major > 15 else "memberships_15")
        run(server, major, "postgres", "databases")
        run(server, major, "source", "source")
        run(server, major, APP, "app")
        run(server, major, APP, "extension", user="postgres")
        with psycopg.connect(server.conninfo(user=ADMINISTRATOR), autocommit=True) as conn:
            for role in LOGIN_ROLES:
                verifier = scram_verifier(conn, role, derive(MASTER_KEY, role))
                conn.execute(
                    sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), sql.Literal(verifier))
                )
        yield server


def run(server: PostgresServer, major: int, database: str, block: str, *, user: str = ADMINISTRATOR) -> None:
    psql = str(find_binaries(major).program("psql"))
    done = subprocess.run(
        [psql, "-X", "-v", "ON_ERROR_STOP=1", "-v", f"app={APP}", "-d", server.conninfo(database, user=user)],
        input=blocks()[block],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, (block, done.stderr)


@pytest.fixture(scope="module")
def releases(prepared: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Releases:
    administrator = SecretStr(prepared.conninfo(APP, user=ADMINISTRATOR))
    install_tables(administrator, "local")
    tmp_path = tmp_path_factory.mktemp("releases")
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "build.py").write_text("def content(context):\n    yield []\n")
    environment = Environment(PostgresDatabase(prepared, APP), "local", "odd-app")
    with psycopg.connect(environment.admin.get_secret_value(), autocommit=True) as conn:
        conn.execute("CREATE TABLE films (film_id int PRIMARY KEY, title text)")
        conn.execute("INSERT INTO films SELECT n, 'film ' || n FROM generate_series(1, 50) AS n")
    return Releases(environment, tmp_path)


def build_content(context: BuildContext) -> Iterator[list[dict[str, Any]]]:
    vector = context.parameters.get("vector")
    for row in context.source("films", "SELECT film_id, title FROM films ORDER BY film_id"):
        yield [{**row, "embedding": [row["film_id"], 1.0, 0.0, 0.5]} if vector else row]


def titles(meta: sa.MetaData) -> sa.Table:
    """The derived table of a server without pgvector."""
    return sa.Table(
        "content",
        meta,
        sa.Column("film_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("title", sa.Text, nullable=False),
    )


def state(*, vector: bool) -> State:
    meta = metadata()
    return State(
        Derived(
            content(meta) if vector else titles(meta),
            builder="app.build:content",
            sources=(Source("films", "SELECT count(*) FROM films"),),
            parameters={"vector": vector},
        ),
        Forked(users(meta)),
        Shared(interactions(meta)),
    )


def test_a_release_lives_and_goes_back_with_just_these_privileges(releases: Releases) -> None:
    with releases.environment.ledger.connect() as conn:
        vector = conn.execute("SELECT to_regtype('sdk_ext.vector')").fetchone() != (None,)
        row = conn.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone()
        assert row == (False,)
        assert vector or conn.info.server_version < 160_000  # the wheel has it, Debian's own has not
    for tag, service in (("v0.0.1", "a.a:a"), ("v0.0.2", "b.b:b")):
        releases.lock(tag, state(vector=vector), service=service)
        releases.deploy(tag, {"content": build_content})
        with releases.connect(tag) as conn:
            assert conn.execute("SELECT count(*) FROM content").fetchone() == (50,)
            conn.execute("INSERT INTO users (user_id, count) VALUES (%s, 1)", [int(tag[-1])])
            conn.execute("UPDATE users SET count = count + 1")
            conn.execute("INSERT INTO interactions (user_id, film_id) VALUES (1, 2)")
    first, second = (releases.bind(tag) for tag in ("v0.0.1", "v0.0.2"))
    assert first.fingerprints == second.fingerprints
    with releases.environment.ledger.connect() as conn:
        assert [one for found in judge(examine(conn, "local")).values() for one in found] == []
    releases.make_live("v0.0.1", rollback_of=second.digest)
    with releases.connect("v0.0.1") as conn:
        found = conn.execute("SELECT user_id, count FROM users ORDER BY 1").fetchall()
        assert found == [(1, 3), (2, 2)]
        assert conn.execute("SELECT count(*) FROM interactions").fetchone() == (2,)
    references.unreference(releases.conninfo, "local", second.digest, lease=None)
    assert janitor.collect(releases.conninfo, "local", lease=None).names("release") == ("v0.0.2",)
    with psycopg.connect(releases.environment.admin.get_secret_value()) as admin:
        assert admin.execute("SELECT to_regrole(%s)", [second.role]).fetchone() == (None,)
    assert releases.environment.ledger.verify() > 3


def test_releases_find_vectors_and_the_settings_of_their_search(releases: Releases) -> None:
    with releases.environment.ledger.connect() as conn:
        if conn.execute("SELECT to_regtype('sdk_ext.vector')").fetchone() == (None,):
            pytest.skip("pgvector is not installed for this version: nothing with vectors is tried on it")
    tag = "v0.0.3"
    releases.lock(tag, state(vector=True), service="c.c:c")
    releases.prepare(tag, {"content": build_content})
    with releases.connect(tag) as conn:
        nearest = conn.execute(
            "SELECT film_id FROM content ORDER BY embedding <=> '[5,1,0,0.5]' LIMIT 1"
        ).fetchone()
        assert nearest == (5,)
        assert conn.execute("SHOW hnsw.iterative_scan").fetchone() == ("strict_order",)


def test_the_sdk_runs_the_same_steps_again_where_they_were_done_by_hand(prepared: PostgresServer) -> None:
    passwords = {role: derive(MASTER_KEY, role) for role in LOGIN_ROLES}
    for _ in range(2):
        administer(SecretStr(prepared.conninfo(APP, user=ADMINISTRATOR)), APP, passwords)
    with psycopg.connect(prepared.conninfo()) as conn:
        conn.execute("CREATE ROLE weak LOGIN CREATEDB PASSWORD 'x'")
        conn.commit()
        with pytest.raises(AuthError, match=r"administrator weak may not(.|\n)*privileges.md"):
            administer(SecretStr(prepared.conninfo(APP, user="weak", password="x")), APP, passwords)


def test_whoever_deploys_cannot_become_who_owns_the_ledger(prepared: PostgresServer) -> None:
    as_sdk = prepared.conninfo(APP, user="sdk", password=derive(MASTER_KEY, "sdk").get_secret_value())
    with psycopg.connect(as_sdk, autocommit=True) as conn:
        if conn.info.server_version < 160_000:
            pytest.skip("Postgres 15 lets a role with CREATEROLE take on any other but a superuser")
        for attempt in (
            "SET ROLE ledger_owner",
            "GRANT ledger_owner TO sdk",
            "GRANT ledger_owner TO sdk_owner",
            "ALTER ROLE ledger_owner LOGIN PASSWORD 'x'",
            "ALTER ROLE sdk SUPERUSER",
            "SET ROLE administrator",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                conn.execute(attempt.encode())
