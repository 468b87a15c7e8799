"""The duty `gc`: drops what no release needs. See `mlops_sdk.state.janitor`.

It gives way to deployers: it takes no lease, so that it is in nobody's way, and each drop first sees in its own
transaction that nobody has it. It must not touch what a command that was cut off has left: that goes on, or is turned
back.
"""

from mlops_sdk.errors import LeaseHeldError
from mlops_sdk.rollout.agent.duty import Did, Work
from mlops_sdk.rollout.session import AGENT, Session
from mlops_sdk.stack import config
from mlops_sdk.state import janitor


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
            cause=config.cause_of(session.stack.config.read()),
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
    named = {section.digest for section in config.releases_of(session.stack.config.read())}
    present = {binding.digest for binding in session.present(session.ledger.pointer().digest)}
    if named - present:
        return (
            f"stack config still names releases that are not kept: `mlops stack sync {session.environment}`"
        )
    return ""
