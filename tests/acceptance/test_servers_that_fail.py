"""Faults between the SDK and its servers: the first error is told first, what was turned back second."""

from collections.abc import Iterator

import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from mlops_sdk.ledger.entries import Entry
from tests.support.matrix.environment import Tiny
from tests.support.matrix.points import words
from tests.support.matrix.watched import Watched
from tests.support.proxy import Proxy, proxy

pytestmark = pytest.mark.timeout(400)


@pytest.fixture
def tiny(small_releases: Tiny) -> Tiny:
    return small_releases


@pytest.fixture
def postgres(tiny: Tiny) -> Iterator[Proxy]:
    """Between the deployer and Postgres; the engine and the services go to it directly."""
    port = conninfo_to_dict(tiny.clone.variables()["MLOPS_OPERATOR_URL"])["port"]
    with proxy(int(str(port))) as found:
        yield found


def through(tiny: Tiny, postgres: Proxy) -> dict[str, str]:
    parts = conninfo_to_dict(tiny.clone.variables()["MLOPS_OPERATOR_URL"])
    return {"MLOPS_OPERATOR_URL": make_conninfo(**{**parts, "port": postgres.port})}


def in_order(text: str, *parts: str) -> bool:
    """Whether each part is there, one after the other."""
    place = 0
    for part in parts:
        place = text.find(part, place) + len(part)
        if place < len(part):
            return False
    return True


def of_commands(tiny: Tiny) -> list[Entry]:
    """The ledger without what the agent sees meanwhile, which is no command's doing."""
    return [entry for entry in tiny.ledger.entries() if entry.kind != "observed"]


def tag(manifest: str) -> str:
    return manifest.rpartition("/")[2].removesuffix(".yaml")


def test_a_deploy_that_postgres_refuses_changes_nothing(tiny: Tiny, postgres: Proxy) -> None:
    postgres.refuse()
    before = of_commands(tiny)
    manifest = tiny.manifest(shift=False, derived=False)

    done = tiny.clone.run("deploy", manifest, code=1, **through(tiny, postgres))

    assert f"postgres 127.0.0.1:{postgres.port}" in done.stderr
    assert "did not answer" in done.stderr
    assert "Traceback" not in done.stderr
    assert of_commands(tiny) == before


def test_a_slow_postgres_is_waited_for_and_each_step_is_told(tiny: Tiny, postgres: Proxy) -> None:
    postgres.slow(0.02)

    done = tiny.clone.run("rollback", "local", "-m", "a slow server", **through(tiny, postgres))

    assert in_order(done.stderr, "verify", "done in", "hand over", "done in", "record", "done in")
    assert postgres.passed > 10_000
    tiny.clone.run("resume", "local")


def test_postgres_that_goes_away_is_told_first_then_what_was_turned_back_or_not_and_it_converges(
    tiny: Tiny, postgres: Proxy
) -> None:
    live = tiny.clone.live()
    manifest = tiny.manifest(shift=False, derived=False)
    watched = Watched(tiny.clone.start("deploy", manifest, **through(tiny, postgres)))
    watched.await_step(words("Verify"))
    postgres.refuse()
    postgres.cut()

    assert watched.finish() == 21
    assert in_order(
        watched.text(), "error: ", "Postgres", "turning back failed too:", "run the same command again"
    )
    assert "Traceback" not in watched.text()
    assert live is not None
    assert tiny.clone.live() == live

    # The same command, and this time an answer is cut in the middle: what the first has left is turned back too.
    postgres.accept()
    watched = Watched(tiny.clone.start("deploy", manifest, **through(tiny, postgres)))
    watched.await_step(words("Verify"))
    postgres.cut_after(10)

    assert watched.finish() == 20, watched.text()
    assert in_order(watched.text(), "error: ", "Postgres", f"turned back: {live} is live as before")
    tiny.check(live)
    tiny.clone.run("deploy", manifest)
    tiny.check(tag(manifest))


def test_an_engine_without_its_plugin_is_told_first_and_the_same_command_goes_on_once_it_is_mended(
    tiny: Tiny,
) -> None:
    live = tiny.clone.live()
    manifest = tiny.manifest(shift=False, derived=False)
    tiny.clone.run("lock", manifest)
    file = tiny.clone.root / "Pulumi.yaml"
    before = file.read_text()
    assert "mlops_sdk/provider/plugin" in before
    file.write_text(before.replace("mlops_sdk/provider/plugin", "mlops_sdk/provider/gone"))
    try:
        watched = Watched(tiny.clone.start("deploy", manifest))
        assert watched.finish() == 21, watched.text()
    finally:
        file.write_text(before)

    assert in_order(
        watched.text(), "pulumi preview of local failed", "gone", "turning back failed too: pulumi up"
    )
    assert tiny.clone.live() == live
    tiny.clone.run("deploy", manifest)
    tiny.check(tag(manifest))
