"""Jobs and flows in a manifest: what is right, what is wrong and where, and what they change."""

from pathlib import Path

import pytest

from mlops_sdk.errors import ManifestError
from mlops_sdk.release.binding import Binding
from mlops_sdk.release.diff import EntryChange, diff
from mlops_sdk.release.flows import FlowSpec
from mlops_sdk.release.lock import Lock
from mlops_sdk.release.manifest import Manifest
from mlops_sdk.release.manifest_file import load_manifest
from mlops_sdk.stack.config import parse_section, section
from tests.support.locks import make_lock

MINIMAL = "schema: 1\nrelease: v0.0.2\ncode: {ref: HEAD}\n"
DAILY = FlowSpec(
    run="pipelines/rfm/flow.py:daily",
    schedule="30 6 * * 1-5",
    timezone="Europe/Berlin",
    parameters={"days": 3},
)


def read(folder: Path, text: str) -> Manifest:
    path = folder / "v0.0.2.yaml"
    path.write_text(MINIMAL + text, encoding="utf-8")
    return load_manifest(path)


def test_jobs_and_flows_are_read(tmp_path: Path) -> None:
    manifest = read(
        tmp_path,
        "jobs: pipelines.rfm.jobs:JOBS\n"
        "flows:\n"
        '  daily: {run: "pipelines/rfm/flow.py:daily", schedule: "30 6 * * 1-5", timezone: Europe/Berlin,'
        " parameters: {days: 3}}\n"
        '  backfill: {run: "pipelines/rfm/flow.py:backfill"}\n',
    )
    assert manifest.jobs == "pipelines.rfm.jobs:JOBS"
    assert manifest.flows == {"daily": DAILY, "backfill": FlowSpec(run="pipelines/rfm/flow.py:backfill")}


@pytest.mark.parametrize(
    ("text", "line", "key", "part"),
    [
        ("jobs: pipelines.rfm.jobs\n", 4, "jobs", "package.module:JOBS"),
        ("flows: {Daily: {run: a/b.py:c}}\n", 4, "flows.Daily", "a letter first"),
        ("flows:\n  daily: {}\n", 5, "flows.daily.run", "path/to/file.py:FUNCTION"),
        ("flows:\n  daily: {run: a.b:c}\n", 5, "flows.daily.run", "has the wrong form"),
        ("flows:\n  daily: {run: ../b.py:c}\n", 5, "flows.daily.run", "has the wrong form"),
        ("flows:\n  daily: {run: /etc/b.py:c}\n", 5, "flows.daily.run", "has the wrong form"),
        ('flows:\n  daily: {run: b.py:c, schedule: "@daily"}\n', 5, "flows.daily.schedule", "five fields"),
        (
            "flows:\n  daily: {run: b.py:c, timezone: Mars/Olympus}\n",
            5,
            "flows.daily.timezone",
            "there is no time zone 'Mars/Olympus'",
        ),
        ("flows:\n  daily: {run: b.py:c, cron: x}\n", 5, "flows.daily.cron", "unknown key"),
        (
            "flows:\n  daily: {run: b.py:c, schedul: x}\n",
            5,
            "flows.daily.schedul",
            "did you mean 'schedule'?",
        ),
        ("flows:\n  daily: {run: b.py:c, schedule: }\n", 5, "flows.daily.schedule", "empty"),
    ],
)
def test_a_fault_is_named_at_its_line(tmp_path: Path, text: str, line: int, key: str, part: str) -> None:
    with pytest.raises(ManifestError) as caught:
        read(tmp_path, text)
    found = [(fault.line, fault.key, f"{fault.what}; {fault.remedy}") for fault in caught.value.faults]
    assert [(one[0], one[1]) for one in found] == [(line, key)]
    assert part in found[0][2]


def test_a_lock_without_jobs_has_the_digest_that_it_had_before_there_were_any() -> None:
    document = make_lock().document()
    assert not {"jobs", "flows"} & set(document)
    lock = make_lock(jobs="a.b:C", flows={"daily": DAILY})
    assert Lock.from_document(lock.document()) == lock
    assert lock.digest != make_lock().digest


def test_what_changes_of_jobs_and_flows_is_told_in_words() -> None:
    old = make_lock(jobs="a.b:C", flows={"daily": DAILY, "gone": FlowSpec(run="a.py:b")})
    new = make_lock(jobs="a.b:D", flows={"daily": DAILY.model_copy(update={"schedule": None})})
    words = 'pipelines/rfm/flow.py:daily at `30 6 * * 1-5` (Europe/Berlin) with {"days":3}'
    assert diff(old, new).entries == (
        EntryChange("jobs", "a.b:C", "a.b:D"),
        EntryChange("flow daily", words, 'pipelines/rfm/flow.py:daily with {"days":3}'),
        EntryChange("flow gone", "a.py:b", None),
    )
    assert diff(old, old).is_empty


def test_a_section_of_stack_config_has_the_jobs_and_flows_of_its_lock() -> None:
    lock = make_lock(jobs="a.b:C", flows={"daily": DAILY})
    binding = Binding.from_document(
        {
            "environment": "local",
            "release": lock.release,
            "digest": lock.digest,
            "seq": 1,
            "pg_schema": "s",
            "role": "s",
            "service_port": 4000,
        }
    )
    made = section(lock, binding, environment=Path(".venvs/1"))
    assert (made.jobs, made.flows) == ("a.b:C", {"daily": DAILY})
    assert parse_section(lock.digest[7:19], made.document()) == made
