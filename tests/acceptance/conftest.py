"""Platforms that the files of this folder share; they stop with its last test, for idle processes slow others down."""

from collections.abc import Iterator

import pytest

from tests.support.clone import Clone, load_and_train, platform
from tests.support.matrix.environment import Tiny


@pytest.fixture(scope="package")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clone]:
    """A clone whose platform has films in its source database and models in its registry."""
    with platform(tmp_path_factory.mktemp("acceptance")) as made:
        load_and_train(made)
        yield made


@pytest.fixture(scope="package")
def bare_clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clone]:
    """A clone of its own whose platform is up and holds nothing yet."""
    with platform(tmp_path_factory.mktemp("kills")) as made:
        yield made


@pytest.fixture(scope="package")
def small_releases(bare_clone: Clone) -> Tiny:
    """An environment with three small releases that stand complete; the last one is live, and there is no hold."""
    made = Tiny.install(bare_clone, 400)
    if made.clone.json("status", "local")["hold"]:
        made.clone.run("resume", "local")
    for _ in range(3):
        made.clone.run("deploy", made.manifest(shift=False, derived=False))
    return made
