"""Two environments on one cluster: what the first verified is promoted to production, which has given parts.

Its MLflow and Prefect are those of the first, by URL; Postgres is its own.
"""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.support.cluster import RealCluster, until
from tests.support.cluster_environment import (
    ClusterEnvironment,
    cluster_environment,
    stack_config,
    train,
)

pytestmark = [pytest.mark.timeout(1200), pytest.mark.slow]
MANIFEST = "stacks/releases/v0.0.1.yaml"


@pytest.fixture(scope="module")
def two(
    tmp_path_factory: pytest.TempPathFactory, real_cluster: RealCluster
) -> Iterator[tuple[ClusterEnvironment, ClusterEnvironment]]:
    """`stg` with a release that is live, and `prd`, which is configured and not up."""
    with cluster_environment(tmp_path_factory.mktemp("two"), real_cluster) as stg:
        stg.run("up", "stg")
        train(stg)
        stg.run("deploy", MANIFEST, "-e", "stg")
        with stg.api() as api:
            address = {
                name: api.require("services", name)["spec"]["clusterIP"] for name in ("mlflow", "prefect")
            }
        prd = replace(stg, namespace=stg.namespace.replace("stg", "prd"), environment="prd")
        stack_config(
            prd,
            mlflowUrl=f"http://{address['mlflow']}:5000",
            prefectUrl=f"http://{address['prefect']}:4200",
        )
        try:
            yield stg, prd
        finally:
            prd.destroy()


def test_production_is_changed_only_when_somebody_confirms_which_cluster_it_is_in(
    two: tuple[ClusterEnvironment, ClusterEnvironment],
) -> None:
    _, prd = two
    said = prd.run("up", "prd", code=2)
    assert f"context {prd.cluster.access.context}" in said
    assert "pass --yes" in said
    with prd.api() as api:
        assert api.namespace_object() is None


def test_a_release_is_promoted_from_one_environment_of_a_cluster_to_the_next(
    two: tuple[ClusterEnvironment, ClusterEnvironment],
) -> None:
    stg, prd = two
    prd.run("up", "prd", "--yes")
    prd.inside("python", "-m", "pipelines.recommender.source")
    said = prd.run("promote", "stg", "prd", "-m", "a week without complaints", "--yes")
    assert "v0.0.1 is live in prd" in said
    until(lambda: prd.ask("/recommend?user_id=7&k=5").is_success, "an answer of production")
    one, other = stg.json("status", "stg"), prd.json("status", "prd")
    assert (one["live"], one["digest"]) == (other["live"], other["digest"])
    assert "no change" in prd.run("promote", "stg", "prd", "--yes")
