"""The engine's events in the words of a person who waits for them."""

from collections.abc import Callable

from mlops_sdk.rollout.environment.progress import Note, Report
from mlops_sdk.stack.events import Change, Done, Event, Message, Started

_DOING = {"create": "creating", "update": "updating", "delete": "deleting", "replace": "replacing"}
_DONE = {"create": "created", "update": "updated", "delete": "deleted", "replace": "replaced"}


def narrate(report: Report) -> Callable[[Event], None]:
    """Return a listener that reports each changed resource and each warning; errors are raised by the engine."""

    def listen(event: Event) -> None:
        match event:
            case Started(change) if change.op in _DOING and _is_own(change):
                report(Note(f"{_DOING[change.op]} {_kind(change)} {change.name}"))
            case Done(change) if change.op in _DONE and _is_own(change):
                report(Note(f"{_DONE[change.op]} {_kind(change)} {change.name}"))
            case Message(severity="warning", text=text):
                report(Note(f"warning: {text}"))
            case _:
                return

    return listen


def _is_own(change: Change) -> bool:
    return change.type.startswith("mlops:index:")


def _kind(change: Change) -> str:
    return change.type.rpartition(":")[2]
