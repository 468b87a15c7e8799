"""The janitor drops what nobody wants."""

import pytest

from mlops_sdk.errors import PolicyError
from mlops_sdk.ledger.store import Ledger
from mlops_sdk.state import (
    cut,
    janitor,
    references,
)
from tests.support.films import BUILDERS, count, film_state
from tests.support.releases import Releases


def test_the_janitor_drops_what_nobody_wants_and_nothing_else(film_releases: Releases) -> None:
    for tag, service in (("v0.0.1", "a.a:a"), ("v0.0.2", "b.b:b")):
        film_releases.lock(tag, film_state(), service=service)
        film_releases.deploy(tag, BUILDERS)
    first, second = (film_releases.bind(tag) for tag in ("v0.0.1", "v0.0.2"))
    with pytest.raises(PolicyError, match="is live"):
        references.unreference(film_releases.conninfo, "local", second.digest, lease=None)
    assert janitor.collect(film_releases.conninfo, "local", lease=None).dropped == ()
    references.unreference(film_releases.conninfo, "local", first.digest, lease=None)
    references.reference(film_releases.conninfo, "local", first.digest, lease=None)
    assert cut.read(film_releases.conninfo, first)
    references.unreference(film_releases.conninfo, "local", first.digest, lease=None)
    # The config that left the release out is the entry's cause: else applying it again would be refused.
    done = janitor.collect(film_releases.conninfo, "local", lease=None, cause="sha256:config")
    assert (done.names("release"), done.names("derived"), done.left) == (("v0.0.1",), (), ())
    entry = Ledger(film_releases.conninfo, "local").head()
    assert entry is not None
    assert (entry.kind, entry.cause) == ("retired", "sha256:config")
    assert not cut.read(film_releases.conninfo, first)
    with film_releases.connect("v0.0.2") as conn:
        assert conn.execute("SELECT count(*) FROM content").fetchone() == (200,)
        conn.execute("INSERT INTO users (user_id) VALUES (1)")
    # A release that was retired can be deployed again.
    references.reference(film_releases.conninfo, "local", first.digest, lease=None)
    film_releases.deploy("v0.0.1", BUILDERS)
    with film_releases.connect("v0.0.1") as conn:
        assert count(conn, 1) == 0
    references.unreference(film_releases.conninfo, "local", second.digest, lease=None)
    assert janitor.collect(film_releases.conninfo, "local", lease=None).names("release") == ("v0.0.2",)
