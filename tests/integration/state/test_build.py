"""Derived tables: built once, resumed, fenced, reused."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from mlops_sdk.errors import InputError, PolicyError
from mlops_sdk.state import (
    BuildContext,
    build,
)
from tests.support.films import BUILDERS, build_content, film_state
from tests.support.releases import Releases


def test_a_release_that_changes_no_input_reuses_the_table(film_releases: Releases) -> None:
    film_releases.lock("v0.0.1", film_state())
    first = film_releases.prepare("v0.0.1", BUILDERS)
    film_releases.lock("v0.0.2", film_state(), service="a.b:c")
    second = film_releases.bind("v0.0.2")
    assert first.fingerprints == second.fingerprints
    assert build.prepare(film_releases.conninfo, "local", second.digest, "content", lease=None) is None
    found = build.status(film_releases.conninfo, second.fingerprints["content"])
    assert found is not None
    assert (found.state, found.rows, found.built_for) == ("sealed", 200, "v0.0.1")


def test_a_build_goes_on_after_a_kill_and_fences_the_late_builder(film_releases: Releases) -> None:
    from mlops_sdk.state import Batch
    from mlops_sdk.state.fill import FencedError, fill

    film_releases.lock("v0.0.1", film_state())
    film_releases.bind("v0.0.1")
    started: list[str | None] = []

    def builder(context: BuildContext) -> Iterator[Batch]:
        started.append(context.resume_after)
        after = int(context.resume_after or 0)
        for row in context.source(
            "films", "SELECT * FROM films WHERE film_id > %s ORDER BY film_id", [after]
        ):
            if row["film_id"] == 100 and len(started) == 1:
                raise KeyboardInterrupt
            yield Batch([{**row, "embedding": [1, 2, 3, 4]}], cursor=str(row["film_id"]))

    first = film_releases.order("v0.0.1", "content")
    assert first is not None
    with pytest.raises(KeyboardInterrupt):
        fill(film_releases.settings("v0.0.1", first), builder)
    second = film_releases.order_after_the_last("v0.0.1", "content")
    assert second.attempt == 2
    with pytest.raises(FencedError):
        fill(film_releases.settings("v0.0.1", first), builder)
    assert fill(film_releases.settings("v0.0.1", second), builder) == 200
    assert started == [None, "99"]
    sealed = build.seal(film_releases.conninfo, second.fingerprint, lease=None)
    assert (sealed.state, sealed.rows) == ("sealed", 200)
    assert build.seal(film_releases.conninfo, second.fingerprint, lease=None) == sealed
    with pytest.raises(FencedError):
        fill(film_releases.settings("v0.0.1", second), builder)


def test_a_builder_gets_only_what_its_table_declares(film_releases: Releases) -> None:
    film_releases.lock("v0.0.1", film_state())
    film_releases.bind("v0.0.1")
    order = film_releases.order("v0.0.1", "content")
    assert order is not None
    spec = film_releases.locks["v0.0.1"].tables["content"]
    with BuildContext(film_releases.settings("v0.0.1", order), spec) as context:
        for ask in (
            lambda: context.model("embedder"),
            lambda: list(context.rows("other")),
            lambda: list(context.source("users")),
        ):
            with pytest.raises(PolicyError, match="does not declare"):
                ask()
        with psycopg.connect(film_releases.environment.admin.get_secret_value(), autocommit=True) as admin:
            admin.execute("INSERT INTO films VALUES (0, 'new')")
        with pytest.raises(PolicyError, match="changed since the release was bound"):
            list(context.source("films"))


def test_a_builder_that_failed_is_replaced_at_once(film_releases: Releases) -> None:
    from mlops_sdk.state.fill import fill

    film_releases.lock("v0.0.1", film_state())
    film_releases.bind("v0.0.1")

    def wrong(context: BuildContext) -> Iterator[list[dict[str, Any]]]:
        yield [{"film_id": 1, "title": "x", "embedding": [1, 2, 3, 4]}] * 2

    def odd(context: BuildContext) -> Iterator[list[dict[str, Any]]]:
        yield [{"film_id": 1}]

    for builder, sentence in ((wrong, "break the table's keys"), (odd, "other columns than declared: ")):
        order = film_releases.order("v0.0.1", "content")
        assert order is not None
        with pytest.raises(InputError, match=sentence):
            fill(film_releases.settings("v0.0.1", order), builder)
    assert film_releases.build("v0.0.1", "content", build_content).rows == 200
