"""The stack `prd` through the real engine, with a stand-in for the plugin gcp: no request leaves this machine.

What is seen here is what the program gives to the engine and in which order, and that names of properties are those of
pulumi_gcp. That Google would take it is not seen: see README.
"""

import json
import re
import subprocess
import sys
from typing import Any

import pytest
from pydantic import SecretStr

from infra.naming import QUEUES
from mlops_sdk.runtime.passwords import derive
from tests.support.gcp_program import MASTER_KEY, ROOT, GcpProgram
from tests.support.pubsub import PubSubServer
from tests.support.sections import a_section, digest12

pytestmark = pytest.mark.timeout(900)  # each step is a run of the engine over 200 resources
PROJECT = "recommender-prd"

FIRST, SECOND = a_section(1), a_section(2, jobs="pipelines.rfm.job:JOBS")


def inputs_of(program: GcpProgram) -> str:
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
def program(tmp_path_factory: pytest.TempPathFactory, pubsub_server: PubSubServer) -> GcpProgram:
    """One environment; the tests of this file are its life, in order."""
    made = GcpProgram(tmp_path_factory.mktemp("prd"), {"PUBSUB_EMULATOR_HOST": pubsub_server.host}).make()
    made.release(FIRST, SECOND, live=1)
    return made


def test_a_preview_names_what_would_be_made_and_makes_nothing(program: GcpProgram) -> None:
    planned = program.preview()
    assert "gcp:container:Cluster" in planned
    assert f"service-{digest12(1)}-deployment" in planned
    assert not (program.root / "cloud" / "apis").exists()


def test_a_misspelled_property_is_found_at_preview(program: GcpProgram) -> None:
    artifacts = program.root / "infra" / "components" / "gcp" / "artifacts.py"
    text = artifacts.read_text(encoding="utf-8")
    artifacts.write_text(text.replace("daysSinceNoncurrentTime", "daysSinceNoncurentTime"), encoding="utf-8")
    try:
        said = program.preview(fails=True)
    finally:
        artifacts.write_text(text, encoding="utf-8")
    assert "has no property 'daysSinceNoncurentTime'" in said


def test_a_region_that_there_is_not_is_told_with_its_key(program: GcpProgram) -> None:
    program.set(region="europe")
    said = program.preview(fails=True)
    assert "mlops-sdk:region" in said
    assert "stack config of prd" in said
    assert "Traceback" not in said


def test_what_google_refuses_is_told_in_its_words_and_nothing_half_made_stays_in_the_way(
    program: GcpProgram,
) -> None:
    program.set(region="europe-west99")
    program.refuse("sqladmin")
    said = program.up(fails=True)
    assert "Billing must be enabled for activation of service 'sqladmin.googleapis.com'" in said
    assert not [name for name in program.resources() if "DatabaseInstance" in name]
    program.refuse()
    # Whichever of the resources with a region is made first says so; the engine then stops.
    assert re.search(r"europe-west99'?\. Unknown (region|location)", said := program.up(fails=True)), said
    program.set(region="europe-west1")


def test_the_environment_is_made(program: GcpProgram) -> None:
    program.up()
    made = program.resources()
    names = {name.rpartition("::")[2] for name in made}
    assert {f"service-{digest12(1)}-deployment", f"service-{digest12(2)}-deployment"} <= names
    cluster = next(one for name, one in made.items() if name == "pulumi:providers:kubernetes::cluster")
    assert "gke-recommender-prd.europe-west1.gke.goog" in json.dumps(cluster["inputs"]["kubeconfig"])


def test_a_release_asks_its_invoker_on_cloud_run_at_the_address_that_google_gave(program: GcpProgram) -> None:
    release = digest12(2)
    (layer,) = (
        one for name, one in program.resources().items() if name.endswith(f"::release-{release}-shown")
    )
    assert layer["inputs"]["data"]["MLOPS_INVOKER_URL"] == f"https://invoker-{release}-run.a.run.app"


def test_a_second_preview_is_empty(program: GcpProgram) -> None:
    program.preview("--expect-no-changes")


def test_its_queues_work_in_googles_own_server(program: GcpProgram, pubsub_server: PubSubServer) -> None:
    found = queues_of(pubsub_server, "publish")
    assert set(found) == {*QUEUES, *(f"{queue}_dead" for queue in QUEUES)}
    for queue in QUEUES:
        assert found[queue] == {"got": queue, "dead": f"projects/{PROJECT}/topics/{queue}_dead"}


def test_a_rollback_gives_the_first_inputs_byte_for_byte(program: GcpProgram) -> None:
    before = inputs_of(program)
    program.release(FIRST, SECOND, live=2)
    program.up()
    assert inputs_of(program) != before
    program.release(FIRST, SECOND, live=1)
    program.up()
    assert inputs_of(program) == before


def test_no_secret_of_the_stack_is_in_its_state_or_its_file(program: GcpProgram) -> None:
    texts = [path.read_text(errors="replace") for path in (program.root / "state").rglob("*.json*")]
    texts.append(program.config_file.read_text())
    passwords = [
        derive(SecretStr(MASTER_KEY), role).get_secret_value() for role in ("postgres", "sdk", FIRST.role)
    ]
    assert any("DatabaseInstance" in text for text in texts)
    assert not [secret for secret in (MASTER_KEY, *passwords) if any(secret in text for text in texts)]


def test_production_is_destroyed_only_when_its_protection_is_taken_away(
    program: GcpProgram, pubsub_server: PubSubServer
) -> None:
    assert "protected" in program.destroy(fails=True)
    program.set(deletionProtection=False)
    program.up()
    program.destroy()
    assert set(program.resources()) <= {"pulumi:pulumi:Stack::mlops-sdk-prd"}
    assert queues_of(pubsub_server, "list") == {}


def queues_of(server: PubSubServer, what: str) -> dict[str, dict[str, str]]:
    """The queues of the server by name; `publish` sends each a message first and says what its subscription got.

    In a process of its own: Pulumi, which this one has imported, and Google each register `google.rpc.Status`.
    """
    command = [sys.executable, "-m", "tests.support.gcp_queues", server.host, PROJECT, what]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    found: dict[str, dict[str, str]] = json.loads(done.stdout)
    return found
