"""The benches of releases' tables: what they are made of works, and each runs whole, small."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from tests.support.environment import MASTER_KEY
from tests.support.postgres import PostgresServer
from tools.bench.state.__main__ import run
from tools.bench.state.releases import Releases, derived, forked
from tools.bench.state.server import Server, database
from tools.bench.state.watch import Watch, slowest, watching


def test_the_releases_of_a_bench_are_the_products_and_its_watch_sees_their_locks(
    postgres_server: PostgresServer,
) -> None:
    server = Server(postgres_server.port, SecretStr(postgres_server.password), MASTER_KEY, Path())
    tables = [derived("films", rows=50, ann=True), forked("users")]
    with database(server, "bench_smoke") as name:
        releases = Releases(server, name)
        first = releases.prepare("first", tables)
        releases.load(first, "users", 10)
        releases.make_live("first")
        second = releases.bind("second", tables)
        assert releases.build(second) == 0
        releases.fork(second)
        releases.cut(second)
        with watching(Watch()) as watch:
            releases.make_live("second")
        with releases.connect(second) as conn:
            assert conn.execute("SELECT (SELECT count(*) FROM films), count(*) FROM users").fetchone() == (
                50,
                10,
            )
            conn.execute("UPDATE users SET count = 1 WHERE user_id = 1")
        releases.bind("third", tables)
        releases.drop("third")
    assert len(watch.held_s) == 1
    assert watch.held_s[0] > 0
    assert "LOCK TABLE" in slowest(watch.statements, 1000)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cut", "handover", "fork", "capture", "copies"])
def test_a_bench_finds_figures_and_says_on_what(name: str) -> None:
    results = run([name], quick=True)
    assert results.failed == []
    assert results.figures
    assert len(results.notes) >= 2
