"""Lines of the engine's event log as typed events."""

import json

import pytest

from mlops_sdk.stack import events
from mlops_sdk.stack.events import Change, Done, Failed, Message, Started, Summary

URN = "urn:pulumi:local::mlops-sdk::a$mlops:index:Process::mlflow"
METADATA = {"op": "update", "type": "mlops:index:Process", "urn": URN, "diffs": ["running", "command"]}
CHANGE = Change("update", "mlops:index:Process", "mlflow", URN, ("command", "running"))


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"resourcePreEvent": {"metadata": METADATA}}, Started(CHANGE)),
        ({"resOutputsEvent": {"metadata": METADATA}}, Done(CHANGE)),
        ({"resOpFailedEvent": {"metadata": METADATA}}, Failed(CHANGE)),
        (
            {"summaryEvent": {"resourceChanges": {"same": 3}, "durationSeconds": 2}},
            Summary({"same": 3}, 2.0),
        ),
        (
            {"diagnosticEvent": {"severity": "error", "message": "<{%reset%}>no<{%reset%}>\n", "urn": URN}},
            Message("error", "no", URN),
        ),
        ({"diagnosticEvent": {"severity": "debug", "message": "noise"}}, None),
        ({"preludeEvent": {}}, None),
    ],
)
def test_each_line_says_one_thing(document: dict[str, object], expected: object) -> None:
    assert events.parse(json.dumps(document)) == expected


def test_half_a_line_says_nothing() -> None:
    assert events.parse('{"resourcePreEvent": {"meta') is None


def test_a_change_reads_as_a_sentence() -> None:
    assert str(CHANGE) == "update Process mlflow (command, running)"
