"""Two prepared versions of iris, and a server of them, for every test of this folder that asks."""

from collections.abc import Iterator

import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from mlops_sdk.serving.loading.preparing import Prepared
from tests.support.serving import Served, prepare_folder, serving, settings_of, tensor_signature, write_model


@pytest.fixture(scope="session")
def iris(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """Version 1: a linear model, compiled."""
    rows, answers = load_iris(return_X_y=True)
    model = LogisticRegression(max_iter=300).fit(rows, answers)
    folder = tmp_path_factory.mktemp("models") / "one"
    return prepare_folder(write_model(folder, model, tensor_signature(4), rows[:2].tolist()))


@pytest.fixture(scope="session")
def other_iris(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """Version 2: its own predict, and the opposite classes, so that an answer shows who made it."""
    rows, answers = load_iris(return_X_y=True)
    model = KNeighborsClassifier().fit(rows, 10 + answers)
    folder = tmp_path_factory.mktemp("models") / "two"
    return prepare_folder(write_model(folder, model, tensor_signature(4), rows[:2].tolist()), version=2)


@pytest.fixture(scope="module")
def served(
    iris: Prepared, other_iris: Prepared, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """A server with version 1 in `current` and version 2 in `next`."""
    with serving(settings_of(tmp_path_factory.mktemp("server")), iris, other_iris) as found:
        yield found
