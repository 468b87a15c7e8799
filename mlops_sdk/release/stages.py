"""Which environments a release may go to: candidates are tried before the last environment, final ones end in it. Pure.

`environments` are the project's, in the order of promotion. With one environment there are no stages: everything goes
there.
"""

from collections.abc import Sequence

from mlops_sdk.errors import PolicyError
from mlops_sdk.release.tag import Tag


def is_rehearsal(environments: Sequence[str], environment: str) -> bool:
    """Whether events in `environment` make candidates: it is one of several, and not the last."""
    return len(environments) > 1 and environment != environments[-1]


def event_targets(environments: Sequence[str], tag: Tag) -> tuple[str, ...]:
    """The environments that an event may deploy a release with this tag to."""
    if len(environments) < 2:
        return tuple(environments)
    return tuple(environments[:-1]) if tag.rc is not None else (environments[-1],)


def refuse_event_target(environments: Sequence[str], environment: str, tag: Tag) -> None:
    """Raise PolicyError unless an event may deploy a release with this tag to `environment`."""
    targets = event_targets(environments, tag)
    if environment in targets:
        return
    remedies = {
        "candidate": "name one of them, or make a final release with --final",
        "final release": "name that one, make a candidate with --rc, or leave --deploy out and `mlops deploy` the file",
    }
    kind = "final release" if tag.rc is None else "candidate"
    raise PolicyError(
        f"{tag} is a {kind}: events deploy it to {', '.join(targets)} only",
        where=environment,
        remedy=remedies[kind],
    )
