"""The stack `prd` through the real engine, with a stand-in for the plugin gcp: no request leaves this machine.

What is seen here is what the program gives to the engine and in which order, and that names of properties are those of
pulumi_gcp. That Google would take it is not seen: see README.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.naming import QUEUES
from tests.support.gcp_program import GcpProgram
from tests.support.sections import a_section, digest12

FIRST, SECOND = a_section(1), a_section(2)


def inputs_of_live(program: GcpProgram) -> str:
    """The registered inputs of all resources, secrets left out: they are encrypted anew by each update."""

    def shown(value: Any) -> Any:
        if isinstance(value, dict):
            if "ciphertext" in value:
                return "[secret]"
            return {key: shown(item) for key, item in value.items()}
        return [shown(item) for item in value] if isinstance(value, list) else value

    found = {name: shown(one.get("inputs", {})) for name, one in program.resources().items()}
    return json.dumps(found, sort_keys=True)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> GcpProgram:
    return GcpProgram(tmp_path_factory.mktemp("prd")).make()


def test_a_new_project_is_previewed_made_released_rolled_back_and_destroyed(program: GcpProgram) -> None:
    """One life of an environment; in one test because each step begins where the last one ended."""
    planned = program.preview()
    assert "error" not in planned
    assert not (program.root / "cloud" / "apis").exists(), "a preview changes nothing"

    program.release(FIRST, live=1)
    program.up()
    made = program.resources()
    assert f"service-{digest12(1)}-deployment" in {name.rpartition("::")[2] for name in made}
    kubeconfig = next(one for name, one in made.items() if name.endswith("::cluster"))["inputs"]["kubeconfig"]
    assert "gke-recommender-prd.europe-west1.gke.goog" in json.dumps(kubeconfig)
    program.preview("--expect-no-changes")

    program.release(FIRST, SECOND, live=1)
    program.up()
    before = inputs_of_live(program)
    program.release(FIRST, SECOND, live=2)
    assert "live" in program.preview("--diff")
    program.up()
    assert inputs_of_live(program) != before
    program.release(FIRST, SECOND, live=1)
    program.up()
    assert inputs_of_live(program) == before
    program.preview("--expect-no-changes")

    said = program.destroy(fails=True)
    assert "protected" in said
    program.set(deletionProtection=False)
    program.up()
    program.destroy()
    assert set(program.resources()) <= {"pulumi:pulumi:Stack::mlops-sdk-prd"}


def test_no_secret_of_the_stack_is_in_its_state_or_its_file(program: GcpProgram) -> None:
    texts = [path.read_text(errors="replace") for path in (program.root / "state").rglob("*.json*")]
    texts.append(program.config_file.read_text())
    assert texts
    assert not [text for text in texts if "A" * 43 in text]


def test_an_api_that_cannot_be_enabled_is_told_and_a_rerun_mends_what_was_half_made(tmp_path: Path) -> None:
    program = GcpProgram(tmp_path).make()
    program.refuse("sqladmin")
    said = program.up(fails=True)
    assert "Billing must be enabled for activation of service 'sqladmin.googleapis.com'" in said
    assert not [name for name in program.resources() if "DatabaseInstance" in name]
    program.refuse()
    program.up()
    assert [
        name for name in program.resources() if name.endswith("::database") and "DatabaseInstance" in name
    ]


def test_a_region_that_there_is_not_is_told_and_mended_by_another(tmp_path: Path) -> None:
    program = GcpProgram(tmp_path).make()
    program.set(region="europe-west99")
    assert "Unknown region" in program.up(fails=True)
    program.set(region="europe")
    said = program.preview(fails=True)
    assert "mlops-sdk:region" in said
    assert "Traceback" not in said
    program.set(region="europe-west4")
    program.up()
    program.preview("--expect-no-changes")


def test_a_misspelled_property_is_found_at_preview(tmp_path: Path) -> None:
    program = GcpProgram(tmp_path).make()
    artifacts = program.root / "infra" / "components" / "gcp" / "artifacts.py"
    text = artifacts.read_text(encoding="utf-8")
    artifacts.write_text(
        text.replace('"daysSinceNoncurrentTime"', '"daysSinceNoncurentTime"'), encoding="utf-8"
    )
    said = program.preview(fails=True)
    assert "daysSinceNoncurentTime" in said


@pytest.fixture
def queues(tmp_path: Path, pubsub_server: Any) -> Iterator[GcpProgram]:
    yield GcpProgram(tmp_path, {"PUBSUB_EMULATOR_HOST": pubsub_server.host}).make()


def test_its_topics_and_subscriptions_work_in_googles_own_server(
    queues: GcpProgram, pubsub_server: Any
) -> None:
    import grpc
    from google.pubsub_v1 import PublisherClient, SubscriberClient
    from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
    from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

    queues.up()
    channel = grpc.insecure_channel(pubsub_server.host)
    publisher = PublisherClient(transport=PublisherGrpcTransport(channel=channel))
    subscriber = SubscriberClient(transport=SubscriberGrpcTransport(channel=channel))
    project = "projects/recommender-prd"
    names = {topic.name for topic in publisher.list_topics(request={"project": project})}
    wanted = {*QUEUES, *(f"{queue}_dead" for queue in QUEUES)}
    assert names == {f"{project}/topics/{name}" for name in wanted}
    for queue in QUEUES:
        message = {"data": queue.encode(), "ordering_key": "one"}
        publisher.publish(request={"topic": f"{project}/topics/{queue}", "messages": [message]})
        subscription = f"{project}/subscriptions/{queue}"
        answer = subscriber.pull(request={"subscription": subscription, "max_messages": 1}, timeout=20)
        assert [one.message.data for one in answer.received_messages] == [queue.encode()]
        found = subscriber.get_subscription(request={"subscription": subscription})
        assert found.dead_letter_policy.dead_letter_topic == f"{project}/topics/{queue}_dead"
    queues.set(deletionProtection=False)
    queues.up()
    queues.destroy()
    assert not list(publisher.list_topics(request={"project": project}))
    channel.close()
