"""A quota that is too small is told before anything is made."""

import pytest

from infra import quota
from mlops_sdk.errors import InputError
from tests.support.cluster_stacks import declared, settings
from tests.support.sections import a_section


def test_the_quotas_of_the_real_stack_files_hold_three_releases() -> None:
    releases = [a_section(number) for number in (1, 2, 3)]
    for stack in ("stg", "prd"):
        quota.require_room(settings(stack, *releases))


def test_a_quota_that_is_too_small_names_each_key_and_what_is_needed() -> None:
    small = {"cpu": "500m", "memory": "16Gi", "storage": "1Gi", "pods": 7}
    with pytest.raises(InputError) as caught:
        quota.require_room(settings("stg", a_section(1), quota=small))
    assert "mlops-sdk:quota.cpu: 500m is too small" in str(caught.value)
    assert "mlops-sdk:quota.pods: 7 is too small: 8 pods" in str(caught.value)
    assert "quota.memory" not in str(caught.value)


def test_what_is_counted_is_what_the_pods_of_the_program_ask_for() -> None:
    size = {"replicas": 2, "maxReplicas": 2, "cpu": "1", "memory": "1Gi"}
    release = a_section(1, jobs="pipelines.rfm.job:JOBS")
    made = declared("stg", release, service=size)
    asked = 0.0
    for kind in ("/v1:Deployment", ":StatefulSet"):
        for inputs in made.of(kind).values():
            (one,) = inputs["spec"]["template"]["spec"]["containers"]
            asked += quota.number(one["resources"]["requests"]["cpu"]) * inputs["spec"]["replicas"]
    counted = sum(quota.number(one.cpu) for one in quota.sizes(settings("stg", release, service=size)))
    assert counted == pytest.approx(asked + quota.AT_ONCE * 1.0)


@pytest.mark.parametrize(
    ("text", "value"), [("500m", 0.5), ("2", 2.0), ("1Ki", 1024.0), ("2G", 2e9), ("1.5", 1.5)]
)
def test_quantities_are_read_as_kubernetes_does(text: str, value: float) -> None:
    assert quota.number(text) == pytest.approx(value)
