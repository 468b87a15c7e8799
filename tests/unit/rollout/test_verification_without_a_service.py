"""A release of tables and jobs alone: nobody answers on its port, and nobody is asked to."""

from typing import Any

from mlops_sdk.release.binding import Binding
from mlops_sdk.rollout.verify.checks import Check
from mlops_sdk.rollout.verify.release import verify
from tests.support.locks import make_lock

NOBODY: Any = None


def test_a_release_without_a_service_is_not_waited_for() -> None:
    lock = make_lock(jobs="pipelines.rfm.job:JOBS")
    binding = Binding(
        environment="local",
        digest=lock.digest,
        release=lock.release,
        seq=1,
        pg_schema="r1",
        role="r1",
        service_port=1,
    )

    def left_s() -> float:
        raise AssertionError("somebody was waited for")

    found = verify(NOBODY, lock, binding, left_s=left_s)
    assert found.ok
    assert found.checks == (Check("service", True, "the release has none"),)
