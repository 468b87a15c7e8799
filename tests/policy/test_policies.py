"""Policies over the recorded resources of every environment's program: what none of them may ever declare."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pulumi
import pytest

from infra.kinds import local
from infra.settings import Ports
from infra.settings import Settings as LocalSettings
from mlops_sdk.release.flows import FlowSpec
from mlops_sdk.release.project import Project
from mlops_sdk.runtime.passwords import derive
from tests.support.cluster_stacks import STACKS, declared
from tests.support.declared import Declared, declare, hidden, own_event_loop
from tests.support.environment import MASTER_KEY
from tests.support.sections import a_section, digest12

Object = dict[str, Any]
CLUSTERS = ("stg", "prd")
PRODUCTION = ("prd",)
_FLOWS = {"daily": FlowSpec(run="pipelines/rfm/flow.py:daily", schedule="30 6 * * *")}
RELEASES = (a_section(1), a_section(2, jobs="pipelines.rfm.job:JOBS", flows=_FLOWS))
WORKLOADS = ("/v1:Deployment", ":StatefulSet", "/v1:Job", ":CronJob")
SERVERS = ("/v1:Deployment", ":StatefulSet")


def _local() -> Declared:
    def program() -> None:
        local.assemble(
            LocalSettings(
                project=Project(root=Path("/a project"), app="app"),
                environment="local",
                kind="local",
                ports=Ports(postgres=21001, mlflow=21002, prefect=21003, router=21004, agent=21005),
                master_key=pulumi.Output.secret(MASTER_KEY.get_secret_value()),
                releases=RELEASES,
                live=RELEASES[0].digest,
            )
        )

    return declare(program, "local")


@pytest.fixture(scope="module")
def every() -> dict[str, Declared]:
    """What each stack's program declares, two releases in it, by the stack's name."""
    found: dict[str, Declared] = {}
    with own_event_loop():
        found["local"] = _local()
        for stack in CLUSTERS:
            # Both places of the invoker, so that a policy sees its pods too.
            found[stack] = declared(stack, *RELEASES, live=1)
        images = {"job": "r/job:1", "service": "r/service:1", "invoker": "r/invoker:1", "postgres": "r/pg:17"}
        found["stg with all"] = declared("stg", *RELEASES, live=1, images=images, prefectOnPostgres=True)
        found["prd in the cluster"] = declared("prd", *RELEASES, live=1, invokerOn="cluster")
    return found


def objects(every: dict[str, Declared], *ends: str) -> Iterator[tuple[str, Object]]:
    """The resources of these types in every stack, each with where it is."""
    for stack, made in every.items():
        for end in ends:
            for name, inputs in made.of(end).items():
                yield f"{stack}: {made.types[name]} {name}", inputs


def pods(every: dict[str, Declared], *ends: str) -> Iterator[tuple[str, Object]]:
    """The pod templates of these workloads."""
    for where, inputs in objects(every, *ends):
        spec = inputs["spec"]
        yield where, (spec["jobTemplate"]["spec"] if "jobTemplate" in spec else spec)["template"]


def containers(every: dict[str, Declared], *ends: str) -> Iterator[tuple[str, Object]]:
    """Their containers."""
    for where, pod in pods(every, *ends):
        for one in pod["spec"]["containers"]:
            yield f"{where} {one['name']}", one


def test_every_stack_file_has_policies_over_its_program(every: dict[str, Declared]) -> None:
    stacks = {path.name.split(".")[1] for path in STACKS.glob("Pulumi.*.yaml")}
    assert stacks <= set(every)


def test_no_secret_is_plain_in_what_the_engine_gets(every: dict[str, Declared]) -> None:
    roles = ("postgres", "sdk", "mlflow", "prefect", "source_reader", "source_owner")
    values = [MASTER_KEY.get_secret_value()]
    values += [derive(MASTER_KEY, role).get_secret_value() for role in roles]
    values += [derive(MASTER_KEY, one.role).get_secret_value() for one in RELEASES]
    for stack, made in every.items():
        for name, inputs in made.wire.items():
            text = json.dumps(hidden(inputs))
            assert not [one for one in values if one in text], f"{stack}: {name}"


def test_no_config_map_has_a_key_that_is_secret_by_its_name(every: dict[str, Declared]) -> None:
    for where, inputs in objects(every, ":ConfigMap"):
        assert not [key for key in inputs["data"] if re.search("PASSWORD|SECRET|TOKEN|MASTER_KEY", key)], (
            where
        )


def test_no_variable_of_a_container_has_a_secret_as_its_value(every: dict[str, Declared]) -> None:
    for where, one in containers(every, *WORKLOADS):
        names = [entry["name"] for entry in one["env"]]
        assert not [name for name in names if re.search("PASSWORD|SECRET|TOKEN|MASTER_KEY|_URI", name)], where


def test_no_image_is_latest_or_without_a_tag(every: dict[str, Declared]) -> None:
    for where, one in containers(every, *WORKLOADS):
        assert re.search(r"(:(?!latest$)[\w.-]+|@sha256:[0-9a-f]{64})$", one["image"]), where
    for where, inputs in objects(every, "cloudrunv2/service:Service"):
        text = json.dumps(inputs)
        assert "latest" not in text, where


def test_every_container_asks_for_something_and_has_a_limit(every: dict[str, Declared]) -> None:
    for where, one in containers(every, *WORKLOADS):
        for what in ("requests", "limits"):
            assert set(one["resources"][what]) == {"cpu", "memory"}, where


def test_every_server_says_when_it_started_is_ready_and_lives(every: dict[str, Declared]) -> None:
    for where, one in containers(every, *SERVERS):
        if one["name"] == "jobs":
            continue  # nobody asks a consumer: it ends when it cannot go on, and is started anew
        assert {"startupProbe", "readinessProbe", "livenessProbe"} <= set(one), where


def test_no_process_is_root_or_can_become_it_or_write_to_its_image(every: dict[str, Declared]) -> None:
    for where, pod in pods(every, *WORKLOADS):
        context = pod["spec"]["securityContext"]
        assert context["runAsNonRoot"] is True, where
        assert context["runAsUser"] > 0, where
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}, where
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod["spec"]), where
        assert not [volume for volume in pod["spec"]["volumes"] if "hostPath" in volume], where
    for where, one in containers(every, *WORKLOADS):
        context = one["securityContext"]
        assert context["allowPrivilegeEscalation"] is False, where
        assert context["readOnlyRootFilesystem"] is True, where
        assert context["capabilities"] == {"drop": ["ALL"]}, where


def test_a_service_of_a_release_has_no_token_of_the_api_server(every: dict[str, Declared]) -> None:
    for where, pod in pods(every, "/v1:Deployment"):
        if pod["metadata"]["labels"]["app.kubernetes.io/name"] == "service":
            assert pod["spec"]["automountServiceAccountToken"] is False, where
            assert "serviceAccountName" not in pod["spec"], where
    for where, inputs in objects(every, ":ServiceAccount"):
        assert inputs["automountServiceAccountToken"] is False, where


def test_nothing_connects_unless_a_policy_says_so(every: dict[str, Declared]) -> None:
    for stack, made in every.items():
        if stack == "local":
            continue
        specs = [one["spec"] for one in made.of(":NetworkPolicy").values()]
        assert {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]} in specs, stack
        for spec in specs:
            for rule in spec.get("ingress", []):
                assert rule.get("from"), f"{stack}: anybody may ask {spec['podSelector']}"
                assert rule.get("ports"), stack


def test_no_role_has_a_wildcard_or_reads_secrets(every: dict[str, Declared]) -> None:
    for where, inputs in objects(every, ":Role"):
        for rule in inputs["rules"]:
            assert "*" not in (*rule["apiGroups"], *rule["resources"], *rule["verbs"]), where
            assert "secrets" not in rule["resources"], where
    assert not list(objects(every, ":ClusterRole", ":ClusterRoleBinding"))


def test_no_service_is_open_to_the_world_but_by_the_gateway(every: dict[str, Declared]) -> None:
    for where, inputs in objects(every, "core/v1:Service"):
        assert inputs["spec"].get("type", "ClusterIP") == "ClusterIP", where


def test_no_database_and_no_bucket_is_public(every: dict[str, Declared]) -> None:
    for where, inputs in objects(every, ":DatabaseInstance"):
        addresses = inputs["settings"]["ipConfiguration"]
        assert addresses["ipv4Enabled"] is False, where
        assert not addresses.get("authorizedNetworks"), where
    for where, inputs in objects(every, "/bucket:Bucket"):
        assert inputs["publicAccessPrevention"] == "enforced", where
        assert inputs["uniformBucketLevelAccess"] is True, where


def test_nobody_is_owner_editor_or_admin_and_nothing_is_granted_to_everybody(
    every: dict[str, Declared],
) -> None:
    for where, inputs in objects(every, "IAMMember", "IamMember"):
        role = inputs["role"]
        assert role not in ("roles/owner", "roles/editor", "roles/viewer"), where
        assert not re.search("[aA]dmin", role), where
        assert inputs["member"] not in ("allUsers", "allAuthenticatedUsers"), where
    assert not list(objects(every, "IAMBinding", "IAMPolicy"))
    for where, inputs in objects(every, ":IAMCustomRole"):
        assert not [one for one in inputs["permissions"] if re.search("secret|create|delete|update", one)], (
            where
        )


def test_accounts_of_google_cloud_have_no_keys(every: dict[str, Declared]) -> None:
    assert not list(objects(every, "serviceaccount/key:Key"))


def test_production_cannot_be_deleted_by_mistake_and_has_backups(every: dict[str, Declared]) -> None:
    for stack in PRODUCTION:
        only = {stack: every[stack]}
        for where, inputs in objects(only, ":DatabaseInstance", "container/cluster:Cluster"):
            assert inputs["deletionProtection"] is True, where
        for where, inputs in objects(only, ":DatabaseInstance"):
            backups = inputs["settings"]["backupConfiguration"]
            assert backups["enabled"] is True, where
            assert backups["pointInTimeRecoveryEnabled"] is True, where
        for where, inputs in objects(only, "/bucket:Bucket"):
            assert inputs["forceDestroy"] is False, where
            assert inputs["versioning"] == {"enabled": True}, where


def test_every_postgres_of_a_cluster_has_backups(every: dict[str, Declared]) -> None:
    for stack, made in every.items():
        if made.of(":StatefulSet"):
            assert made.of(":CronJob"), stack


def test_labels_say_environment_and_release(every: dict[str, Declared]) -> None:
    for stack, made in every.items():
        environment = stack.split()[0]
        for name, inputs in made.resources.items():
            kind = made.types[name]
            if kind.startswith("kubernetes:"):
                labels = inputs["metadata"]["labels"]
                assert labels["mlops.dev/environment"] == environment, f"{stack}: {name}"
                for section in RELEASES:
                    if digest12(section.seq) in name:
                        assert labels["mlops.dev/release"] == section.release, f"{stack}: {name}"
                        assert labels["mlops.dev/digest"] == digest12(section.seq), f"{stack}: {name}"
            elif kind.endswith((":Topic", ":Subscription", "/bucket:Bucket", "cloudrunv2/service:Service")):
                assert inputs["labels"]["environment"] == environment, f"{stack}: {name}"


def test_a_namespace_enforces_restricted_pods_and_has_a_quota(every: dict[str, Declared]) -> None:
    for where, inputs in objects(every, ":Namespace"):
        if inputs:
            level = inputs["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]
            assert level == "restricted", where
    for stack, made in every.items():
        assert stack == "local" or made.of(":ResourceQuota"), stack
