"""What the pods of a release say, added to the error of an update that they made fail."""

import contextlib

from mlops_sdk.cluster.pods import reasons
from mlops_sdk.errors import MlopsError
from mlops_sdk.platform.reach import DIGEST_LABEL
from mlops_sdk.release.digest import short
from mlops_sdk.rollout.environment.session import Session


def with_pods(session: Session, digest: str, error: MlopsError) -> MlopsError:
    """The error with the reasons of the release's pods; as it is where there are none, or on this machine."""
    if session.reach is None or type(error) is not MlopsError:
        return error
    lines: list[str] = []
    with contextlib.suppress(MlopsError):  # the first error is the one to tell
        lines = reasons(session.reach.api, {DIGEST_LABEL: short(digest)})
    if not lines:
        return error
    listed = "\n".join(f"  {line}" for line in lines)
    return MlopsError(f"{error.what}\n{listed}", where=error.where, remedy=error.remedy)
