"""The duty `gc`: drops what no release needs. See `mlops_sdk.state.janitor`.

It gives way to deployers: it takes no lease, so that it is in nobody's way, and each drop first sees in its own
transaction that nobody has it. It must not touch what a command that was cut off has left: that goes on, or is turned
back.
"""

from mlops_sdk.errors import LeaseHeldError
from mlops_sdk.platform.reach import MANAGED_BY, MANAGER
from mlops_sdk.release.digest import short
from mlops_sdk.rollout.agent.duty import Did, Work
from mlops_sdk.rollout.environment.session import AGENT, Session
from mlops_sdk.stack import config
from mlops_sdk.state import janitor

_RECENT = 500


def collect(work: Work) -> Did:
    """Drop what is not needed, unless somebody deploys or has not come to an end."""
    session = work.session
    reason = why_not(session)
    if reason:
        return Did(f"left all as it is: {reason}")
    url, environment = session.operator.operator_url, session.environment
    if not janitor.preview(url, environment).dropped:
        return Did("nothing to drop")
    try:
        found = janitor.collect(
            url,
            environment,
            lease=None,
            gives_way=True,
            actor=AGENT,
            cause=_cause(session),
        )
    except LeaseHeldError as error:
        return Did(f"gave way: {error.what}")
    dropped = ", ".join(f"{item.kind} {item.name}" for item in found.dropped) or "nothing"
    left = "; ".join(f"left {item.kind} {item.name}: {item.why}" for item in found.left)
    return Did(f"dropped {dropped}" + (f"; {left}" if left else ""))


def why_not(session: Session) -> str:
    """Why nothing may be dropped now, or "".

    A release that left the ledger's kept ones may still run until stack config without it was applied.
    """
    intent = session.ledger.unfinished_intent()
    if intent is not None:
        return f"the {intent.details.get('intent', 'change')} of entry #{intent.n} has not come to its end"
    present = {binding.digest for binding in session.present(session.ledger.pointer().digest)}
    if session.is_in_pod:
        if _there(session) - present:
            return (
                f"releases that are not kept still stand in the namespace: `mlops up {session.environment}`"
            )
        return ""
    named = {section.digest for section in config.releases_of(session.stack.config.read())}
    if named - present:
        return (
            f"stack config still names releases that are not kept: `mlops stack sync {session.environment}`"
        )
    return ""


def _there(session: Session) -> set[str]:
    """The releases whose variables stand in the namespace of this pod, which has no stack config to look into."""
    assert session.reach is not None  # it is in a pod
    names = {one["metadata"]["name"] for one in session.reach.api.list("configmaps", {MANAGED_BY: MANAGER})}
    bound = session.ledger.bindings(retired=True)
    return {one.digest for one in bound if f"release-{short(one.digest)}" in names}


def _cause(session: Session) -> str:
    """That of stack config; in a pod that of the newest change, since which config names the same releases."""
    if not session.is_in_pod:
        return config.cause_of(session.stack.config.read())
    entries = session.ledger.entries(_RECENT)
    return next((one.cause for one in entries if one.kind in ("live", "retired")), "")
