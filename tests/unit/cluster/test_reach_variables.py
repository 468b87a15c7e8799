"""Variables of a cluster with addresses of this machine: what moves, and what stays."""

from pathlib import Path

import pytest

from mlops_sdk.errors import InputError
from mlops_sdk.platform.reach import here, namespace_of, place_of, service_name

_PORTS = {"relay": 7432, "mlflow": 7500, "prefect": 7420}
_ROOT, _FOLDER = Path("/work"), Path("/work/.mlops/stg")


def _here(**variables: str) -> dict[str, str]:
    return here(variables, _PORTS, root=_ROOT, folder=_FOLDER)


def test_the_environment_s_own_servers_are_at_the_forwards() -> None:
    assert _here(
        MLOPS_DATABASE_HOST="postgres",
        MLOPS_DATABASE_PORT="5432",
        MLOPS_OPERATOR_URL="postgresql://sdk:p%40w@postgres:5432/shop",
        MLFLOW_TRACKING_URI="http://mlflow:5000",
        PREFECT_API_URL="http://prefect:4200/api",
        MLOPS_PROJECT_ROOT="/app",
        MLOPS_MODEL_CACHE="/var/models",
        MLOPS_APP="shop",
    ) == {
        "MLOPS_DATABASE_HOST": "127.0.0.1",
        "MLOPS_DATABASE_PORT": "7432",
        "MLOPS_OPERATOR_URL": "postgresql://sdk:p%40w@127.0.0.1:7432/shop",
        "MLFLOW_TRACKING_URI": "http://127.0.0.1:7500",
        "PREFECT_API_URL": "http://127.0.0.1:7420/api",
        "MLOPS_PROJECT_ROOT": "/work",
        "MLOPS_MODEL_CACHE": "/work/.mlops/stg/models",
        "MLOPS_APP": "shop",
    }


def test_a_source_of_somebody_else_keeps_its_address() -> None:
    found = _here(MLOPS_DATABASE_HOST="postgres", MLOPS_SOURCE_URL="postgresql://r:x@warehouse:5432/films")
    assert found["MLOPS_SOURCE_URL"] == "postgresql://r:x@warehouse:5432/films"


def test_without_a_forward_nothing_moves() -> None:
    given = {"MLFLOW_TRACKING_URI": "https://mlflow.example", "MLOPS_DATABASE_HOST": "db.example"}
    assert here(given, {}, root=_ROOT, folder=_FOLDER) == given


def test_a_namespace_is_named_by_config_or_by_app_and_environment() -> None:
    assert namespace_of({}, "my_shop", "stg") == "my-shop-stg"
    assert namespace_of({"mlops-sdk:namespace": "mine"}, "my_shop", "stg") == "mine"


def test_a_service_is_named_by_the_digest_of_its_release() -> None:
    assert service_name("sha256:" + "ab" * 32) == "service-" + "ab" * 6


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"mlops-sdk:kind": "local"}, "is on no cluster"),
        ({"mlops-sdk:kind": "kubernetes"}, "names no context"),
    ],
)
def test_a_place_needs_a_cluster_and_a_context(values: dict[str, str], words: str) -> None:
    with pytest.raises(InputError, match=words):
        place_of(values, app="shop", environment="stg", root=_ROOT, folder=_FOLDER)
