"""What gates ask of Postgres: how far a release is behind, and what models answered."""

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg

from mlops_sdk.rollout.verify.predictions import MOST, predictions_since
from mlops_sdk.state import Forked, State
from mlops_sdk.state.carry import drain_once, set_stale
from mlops_sdk.state.lag import waiting_keys
from tests.support.environment import Environment
from tests.support.releases import Releases
from tests.support.tables import metadata, users

OLD, NEW = "v0.0.1", "v0.0.2"


def prepared(environment: Environment, folder: Path) -> Releases:
    """One release is live, another follows it."""
    found = Releases(environment, folder)
    for tag in (OLD, NEW):
        found.lock(tag, State(Forked(users(metadata()))), service=f"a.b:s{tag[-1]}")
    found.deploy(OLD)
    found.prepare(NEW)
    return found


def lag(releases: Releases, tag: str) -> int:
    with releases.environment.ledger.connect() as conn:
        return waiting_keys(conn, "local", releases.locks[tag].digest)


def test_what_is_written_waits_for_a_release_that_follows_until_it_is_carried(
    environment: Environment, tmp_path: Path
) -> None:
    releases = prepared(environment, tmp_path)
    assert lag(releases, NEW) == 0
    with releases.connect(OLD) as conn:
        conn.execute("INSERT INTO users (user_id) SELECT generate_series(1, 10)")
    assert lag(releases, NEW) == 10
    assert lag(releases, OLD) == 0, "what is live waits for nothing"

    with environment.ledger.connect() as conn:
        drain_once(conn, "local", releases.locks[NEW].digest)
    assert lag(releases, NEW) == 0


def test_a_fork_that_is_stale_is_as_far_behind_as_can_be(environment: Environment, tmp_path: Path) -> None:
    releases = prepared(environment, tmp_path)
    with environment.ledger.connect() as conn:
        set_stale(conn, "local", releases.locks[NEW].digest, ["users"])
    assert lag(releases, NEW) > 10_000


def test_a_release_without_forked_tables_waits_for_nothing(environment: Environment, tmp_path: Path) -> None:
    releases = Releases(environment, tmp_path)
    releases.lock(OLD, State(), service="a.b:c")
    releases.deploy(OLD)
    assert lag(releases, OLD) == 0


def log(conn: psycopg.Connection[Any], digest: str, model: str, at: datetime, *outputs: object) -> None:
    for output in outputs:
        conn.execute(
            "INSERT INTO mlops.prediction_log"
            " (at, request_id, release_digest, slot, model, model_version, input, output)"
            " VALUES (%s, 'r', %s, 'next', %s, 1, '[]', %s)",
            [at, digest, model, json.dumps(output)],
        )


def test_predictions_are_those_of_the_release_since_then_by_model(environment: Environment) -> None:
    with psycopg.connect(environment.admin.get_secret_value(), autocommit=True) as conn:
        row = conn.execute("SELECT clock_timestamp()").fetchone()
        assert row is not None
        now = row[0]
        log(conn, "sha256:a", "ranker", now - timedelta(minutes=1), "before")
        log(conn, "sha256:a", "ranker", now, 0.5, {"films": [1, 2]})
        log(conn, "sha256:a", "embedder", now, [0.1, 0.2])
        log(conn, "sha256:b", "ranker", now, "of another release")

    with environment.ledger.connect() as conn:
        found = predictions_since(conn, "sha256:a", now)
    assert found["embedder"] == [[0.1, 0.2]]
    assert sorted(map(str, found["ranker"])) == ["0.5", "{'films': [1, 2]}"]
    assert set(found) == {"ranker", "embedder"}


def test_of_very_many_predictions_the_latest_are_read(environment: Environment) -> None:
    with psycopg.connect(environment.admin.get_secret_value(), autocommit=True) as conn:
        row = conn.execute("SELECT clock_timestamp()").fetchone()
        assert row is not None
        conn.execute(
            "INSERT INTO mlops.prediction_log"
            " (at, request_id, release_digest, slot, model, model_version, input, output)"
            " SELECT %s + n * interval '1 ms', 'r', 'sha256:a', 'next', 'ranker', 1, '[]', to_jsonb(n)"
            " FROM generate_series(1, %s) AS n",
            [row[0], MOST + 100],
        )

    with environment.ledger.connect() as conn:
        found = predictions_since(conn, "sha256:a", row[0])["ranker"]
    assert len(found) == MOST
    assert min(found) == 101  # type: ignore[type-var]
