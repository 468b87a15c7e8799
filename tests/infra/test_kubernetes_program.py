"""The program of an environment in a namespace of a given cluster, with Pulumi's mocks: what it declares."""

import base64
import json
from typing import Any

import pulumi
import pulumi.runtime
import pytest

from infra import job_template
from infra.components.cluster import parts
from infra.given import Given, PostgresServer, webhook
from mlops_sdk.errors import InputError
from mlops_sdk.provider.flow import definition
from mlops_sdk.release.flows import FlowSpec
from mlops_sdk.runtime.keys import BY_NAME
from mlops_sdk.runtime.passwords import derive
from tests.support.cluster_stacks import declared, settings, with_repository
from tests.support.declared import Declared
from tests.support.environment import MASTER_KEY
from tests.support.sections import a_section, digest12

ONE = digest12(1)


def container(made: Declared, name: str) -> dict[str, Any]:
    spec = made.resources[name]["spec"]
    pod = spec["jobTemplate"]["spec"]["template"] if "jobTemplate" in spec else spec["template"]
    (found,) = pod["spec"]["containers"]
    assert isinstance(found, dict)
    return found


def environment(made: Declared, name: str) -> dict[str, str]:
    return {one["name"]: one["value"] for one in container(made, name)["env"]}


def test_the_platform_alone_has_its_parts_and_nothing_of_a_release() -> None:
    made = declared("stg")
    deployments = {one["metadata"]["name"] for one in made.of("/v1:Deployment").values()}
    assert deployments == {"relay", "mlflow", "prefect", "prefect-worker", "agent"}
    assert {one["metadata"]["name"] for one in made.of(":StatefulSet").values()} == {"postgres"}
    jobs = {one["metadata"]["name"].rpartition("-")[0] for one in made.of("/v1:Job").values()}
    assert jobs == {"database", "work-pool"}
    assert not [name for name in made.resources if name.startswith(("release-", "service-", "state-"))]
    assert made.of(":Live")["live"].get("digest") is None


def test_everything_is_in_the_namespace_with_a_name_of_its_own_and_says_whose_it_is() -> None:
    made = declared("stg", a_section(1), live=1)
    for name, inputs in made.resources.items():
        if not made.types[name].startswith("kubernetes:"):
            continue
        metadata = inputs["metadata"]
        if not made.types[name].endswith(":Namespace"):
            assert metadata["namespace"] == "recommender-stg", name
        assert metadata["name"], name
        labels = metadata["labels"]
        assert labels["mlops.dev/environment"] == "stg", name
        assert labels["app.kubernetes.io/managed-by"] == "mlops-sdk", name


def test_a_release_is_named_by_its_digest_and_brings_its_own_objects_only() -> None:
    before, after = declared("stg"), declared("stg", a_section(1))
    new = set(after.resources) - set(before.resources)
    assert {after.resources[name]["metadata"]["name"] for name in new if after.resources[name]} == {
        f"release-{ONE}",
        f"state-{ONE}",
        f"service-{ONE}",
    }
    kinds = sorted(after.types[name].rpartition(":")[2] for name in new if after.resources[name])
    assert kinds == [
        "ConfigMap",
        "Deployment",
        "HorizontalPodAutoscaler",
        "Job",
        "NetworkPolicy",
        "PodDisruptionBudget",
        "Secret",
        "Service",
    ]
    assert {name: after.resources[name] for name in before.resources} == before.resources


JOBS = {
    "jobs": "pipelines.rfm.job:JOBS",
    "flows": {
        "daily": FlowSpec(run="pipelines/rfm/flow.py:daily", schedule="30 6 * * *", parameters={"days": 3})
    },
}


def test_a_release_s_jobs_have_a_consumer_and_an_invoker_in_its_own_image_with_both_layers() -> None:
    made = declared("stg", a_section(1, **JOBS), live=1)
    consumer, invoker = (
        container(made, f"jobs-{ONE}-deployment"),
        container(made, f"invoker-{ONE}-deployment"),
    )
    service = container(made, f"service-{ONE}-deployment")
    assert consumer["command"][-2:] == ["mlops_sdk.workload.consume", "pipelines.rfm.job:JOBS"]
    assert invoker["command"][3:5] == ["mlops_sdk.workload.invoke", "pipelines.rfm.job:JOBS"]
    assert consumer["envFrom"] == invoker["envFrom"] == service["envFrom"]
    assert consumer["image"] == settings("stg").image("job", a_section(1))
    assert invoker["image"] == settings("stg").image("invoker", a_section(1))
    shown = made.resources[f"release-{ONE}-shown"]["data"]
    assert shown["MLOPS_INVOKER_URL"] == f"http://invoker-{ONE}:8080"
    assert shown["MLOPS_JOBS"] == "pipelines.rfm.job:JOBS"
    assert "MLOPS_INVOKER_TOKEN" in made.resources[f"release-{ONE}-secret"]["stringData"]


def test_a_release_s_flows_are_deployments_whose_runs_are_pods_of_its_image_with_its_layer() -> None:
    made = declared("stg", a_section(1, **JOBS), live=1)
    flow = made.resources[f"release-{ONE}-flow-daily"]
    assert flow["image"] == settings("stg").image("job", a_section(1))
    assert (flow["checkout"], flow["layer"], flow["commit"]) == ("/app", f"release-{ONE}", "c" * 40)
    assert (flow["schedule"], flow["parameters"]) == ("30 6 * * *", {"days": 3})
    assert "python" not in flow
    assert definition(flow)["job_variables"] == {"layer": f"release-{ONE}", "image": flow["image"]}


def test_going_to_another_release_and_back_gives_the_first_inputs_byte_for_byte() -> None:
    pair = (a_section(1), a_section(2))
    first, _second, third = (declared("stg", *pair, live=number) for number in (1, 2, 1))
    assert json.dumps(first.resources, sort_keys=True) == json.dumps(third.resources, sort_keys=True)


def test_a_service_reads_the_environment_then_its_release() -> None:
    made = declared("stg", a_section(1), live=1)
    sources = container(made, f"service-{ONE}-deployment")["envFrom"]
    assert sources == [
        {"configMapRef": {"name": "env"}},
        {"secretRef": {"name": "env"}},
        {"configMapRef": {"name": f"release-{ONE}"}},
        {"secretRef": {"name": f"release-{ONE}"}},
    ]
    shown = made.resources[f"release-{ONE}-shown"]["data"]
    assert shown["MLOPS_SERVICE_PORT"] == "8000"
    secret = made.resources[f"release-{ONE}-secret"]["stringData"]
    assert secret == {"MLOPS_DATABASE_PASSWORD": derive(MASTER_KEY, a_section(1).role).get_secret_value()}


def test_a_service_drains_before_it_ends_and_no_pod_goes_before_its_successor_is_ready() -> None:
    spec = declared("stg", a_section(1)).resources[f"service-{ONE}-deployment"]["spec"]
    assert spec["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    pod = spec["template"]["spec"]
    (service,) = pod["containers"]
    drain_s = service["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["terminationGracePeriodSeconds"] > drain_s + 10
    assert {one["topologyKey"] for one in pod["topologySpreadConstraints"]} == {
        "kubernetes.io/hostname",
        "topology.kubernetes.io/zone",
    }
    assert service["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert service["livenessProbe"]["httpGet"]["path"] == "/livez"


def test_an_autoscaler_has_the_say_over_replicas_where_there_is_one() -> None:
    size = {"replicas": 2, "maxReplicas": 2, "cpu": "1", "memory": "1Gi"}
    fixed = declared("stg", a_section(1), service=size)
    assert not fixed.of(":HorizontalPodAutoscaler")
    assert fixed.resources[f"service-{ONE}-deployment"]["spec"]["replicas"] == 2
    scaled = declared("stg", a_section(1), service={**size, "maxReplicas": 5})
    assert "replicas" not in scaled.resources[f"service-{ONE}-deployment"]["spec"]
    (scale,) = scaled.of(":HorizontalPodAutoscaler").values()
    assert (scale["spec"]["minReplicas"], scale["spec"]["maxReplicas"]) == (2, 5)


def test_a_release_without_a_service_has_no_pods_but_its_state() -> None:
    made = declared("stg", a_section(1, service=None))
    assert not [name for name in made.resources if name.startswith("service-")]
    assert f"state-{ONE}-job" in made.resources


def test_a_release_runs_the_images_of_its_lock() -> None:
    digest = "sha256:" + "5" * 64
    found = with_repository(settings("stg"), "registry.example.com/recommender")
    by_digest, by_commit = a_section(1, images={"service": digest}), a_section(2)
    assert found.image("service", by_digest) == f"registry.example.com/recommender/service@{digest}"
    assert found.image("job", by_commit) == f"registry.example.com/recommender/job:{'c' * 40}"
    assert found.image("service") == "registry.example.com/recommender/service:0f3b6c1d9a52"


def test_the_state_of_a_release_is_cut_by_a_job_of_its_own_image_before_its_service_is_made() -> None:
    made = declared("stg", a_section(1))
    job = container(made, f"state-{ONE}-job")
    assert job["command"][-2:] == ["mlops_sdk.provider.job", "release-state"]
    assert {"secretRef": {"name": "operator"}} in job["envFrom"]
    assert job["terminationMessagePolicy"] == "FallbackToLogsOnError"


def test_every_flow_run_gets_both_layers_of_variables() -> None:
    template = job_template.of(settings("stg"))
    pod = template["job_configuration"]["job_manifest"]["spec"]["template"]["spec"]
    assert pod["containers"][0]["envFrom"] == [
        {"configMapRef": {"name": "env"}},
        {"secretRef": {"name": "env"}},
        {"configMapRef": {"name": "{{ layer }}"}},
        {"secretRef": {"name": "{{ layer }}"}},
    ]
    assert template["variables"]["properties"]["layer"]["default"] == "env"
    assert pod["securityContext"]["runAsNonRoot"] is True


def test_a_layer_has_each_variable_once_secrets_in_its_secret_alone() -> None:
    made = declared("stg", a_section(1))
    for layer in ("env", "operator", f"release-{ONE}"):
        shown = made.resources.get(f"{layer}-shown", {}).get("data", {})
        secret = made.resources[f"{layer}-secret"]["stringData"]
        assert not set(shown) & set(secret)
        assert not [name for name in shown if BY_NAME[name].secret]
        assert all(BY_NAME[name].secret for name in secret)
    assert made.resources["env-shown"]["data"]["MLOPS_DATABASE_HOST"] == "postgres"
    assert made.resources["env-shown"]["data"]["MLOPS_SERVICE_HOST"] == parts.EVERY_ADDRESS


def test_a_changed_variable_starts_the_pods_that_read_it_anew() -> None:
    def annotations(made: Declared) -> dict[str, str]:
        found = made.resources[f"service-{ONE}-deployment"]["spec"]["template"]["metadata"]["annotations"]
        assert isinstance(found, dict)
        return found

    first = annotations(declared("stg", a_section(1)))
    other = annotations(declared("stg", a_section(1, parameters={"candidates": 300})))
    assert first["mlops.dev/release-layer"] != other["mlops.dev/release-layer"]
    assert first["mlops.dev/environment-layer"] == other["mlops.dev/environment-layer"]


GIVEN_URL = "postgresql://admin:not-a-secret@db.example:6000"


def test_a_postgres_that_is_given_is_not_made_and_everybody_reaches_it_by_its_name() -> None:
    server = PostgresServer("db.example", 6000, pulumi.Output.secret(GIVEN_URL))
    made = declared("stg", a_section(1), given=Given(postgres=server), databaseSize=None, backup=None)
    assert not made.of(":StatefulSet")
    assert not made.of(":CronJob")
    assert made.resources["env-shown"]["data"]["MLOPS_DATABASE_HOST"] == "db.example"
    assert container(made, "relay-deployment")["command"][-1] == "db.example:6000"
    holders = [name for name, inputs in made.resources.items() if "not-a-secret" in json.dumps(inputs)]
    assert holders == ["administrator-secret"]


def test_servers_that_are_given_are_not_made() -> None:
    given = Given(mlflow="http://models.example", prefect="http://flows.example/api")
    made = declared("stg", given=given)
    names = {one["metadata"]["name"] for one in made.of("/v1:Deployment").values()}
    assert names == {"relay", "prefect-worker", "agent"}
    assert made.resources["env-shown"]["data"]["MLFLOW_TRACKING_URI"] == "http://models.example"
    assert made.resources["env-shown"]["data"]["MLOPS_WORK_POOL"] == "recommender-stg"


def test_pods_may_ask_what_is_given_at_its_port_and_nothing_else_outside() -> None:
    def ports(given: Given) -> list[int]:
        policy = declared("stg", given=given).resources.get("policy-allow-given")
        return [port["port"] for port in policy["spec"]["egress"][0]["ports"]] if policy else []

    server = PostgresServer("db.example", 6000, pulumi.Output.secret(GIVEN_URL))
    http = Given(server, "http://models.example:5001", "https://flows.example/api")
    assert ports(Given()) == []
    assert ports(http) == [443, 5001, 6000]
    assert ports(Given(mlflow="http://models.example", alerts=webhook("https://chat.example/a"))) == [80, 443]


def test_the_address_that_alerts_go_to_is_a_secret_of_the_environment_s_layer() -> None:
    made = declared("stg", a_section(1), given=Given(alerts=webhook("https://chat.example/hooks/abc")))
    holders = [name for name, inputs in made.resources.items() if "hooks/abc" in json.dumps(inputs)]
    assert holders == ["env-secret"]
    assert (
        made.resources["env-secret"]["stringData"]["MLOPS_ALERT_WEBHOOK"] == "https://chat.example/hooks/abc"
    )


def test_prefect_keeps_its_data_in_postgres_where_config_says_that_it_can() -> None:
    volume, postgres = declared("stg"), declared("stg", prefectOnPostgres=True)
    key = "PREFECT_API_DATABASE_CONNECTION_URL"
    assert environment(volume, "prefect-deployment")[key].startswith("sqlite+aiosqlite:////var/lib/mlops/")
    assert key not in environment(postgres, "prefect-deployment")
    assert postgres.resources["prefect-secret"]["stringData"][key].startswith("postgresql+asyncpg://prefect:")
    assert "prefect-claim" not in postgres.resources


def test_backups_are_dumps_of_every_database_to_a_claim_of_their_own() -> None:
    made = declared("stg")
    backup = container(made, "postgres-backup-job")
    assert backup["command"][-3:] == ["recommender", "mlflow", "source"]
    assert made.resources["postgres-backup-job"]["spec"]["schedule"] == "30 2 * * *"
    assert made.resources["postgres-backup-claim"]["spec"]["resources"]["requests"]["storage"] == "40Gi"


def test_a_postgres_image_of_its_own_is_laid_out_as_dockers() -> None:
    images = {
        "job": "r/job:1",
        "service": "r/service:1",
        "postgres": "docker.io/pgvector/pgvector:0.8.1-pg17",
    }
    server = container(declared("stg", images=images), "postgres-set")
    assert server["image"] == images["postgres"]
    assert server["command"][0] == "docker-entrypoint.sh"


def test_the_route_s_rules_are_the_handover_s_alone_before_and_after_the_first_release() -> None:
    none, two = declared("stg"), declared("stg", a_section(1), a_section(2), live=2)
    route = none.resources["route"]
    assert route["spec"] == {
        "parentRefs": [{"name": "gateway", "sectionName": "http"}],
        "hostnames": ["recommender.stg.example.com"],
    }
    assert two.resources["route"] == route


def test_a_release_that_config_no_longer_names_leaves_no_resource_that_could_give_up_its_tables() -> None:
    made = declared("stg", a_section(1), a_section(2), live=2)
    # Its Job cut them; to delete a Job runs nothing. Only the plan step that retires a release gives them up.
    assert not made.of(":ReleaseState")
    assert f"state-{ONE}" in {one["metadata"]["name"] for one in made.of("/v1:Job").values()}


def test_services_answer_the_environments_own_pods_and_the_gateways_controller_alone() -> None:
    policy = declared("stg", a_section(1)).resources[f"service-{ONE}-policy"]["spec"]
    (rule,) = policy["ingress"]
    assert rule["from"] == [
        {"podSelector": {}},
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "traefik"}}},
    ]


def test_only_the_worker_and_the_agent_have_a_token_of_the_api_server() -> None:
    made = declared("stg", a_section(1))
    with_token = set()
    for kind in ("/v1:Deployment", ":StatefulSet", "/v1:Job"):
        for inputs in made.of(kind).values():
            if inputs["spec"]["template"]["spec"]["automountServiceAccountToken"]:
                with_token.add(inputs["metadata"]["name"])
    assert with_token == {"prefect-worker", "agent"}


def test_no_secret_is_in_plain_text_anywhere() -> None:
    made = declared("stg", a_section(1), live=1)
    roles = ("postgres", "sdk", "mlflow", "source_reader", "source_owner", a_section(1).role)
    values = [
        MASTER_KEY.get_secret_value(),
        *(derive(MASTER_KEY, role).get_secret_value() for role in roles),
    ]
    for name, inputs in made.resources.items():
        if made.types[name].endswith(("/v1:Secret", ":Live")):
            continue
        text = json.dumps(inputs)
        found = [one for one in values if one in text or base64.b64encode(one.encode()).decode() in text]
        assert not found, name


@pytest.mark.parametrize("target", ["invoker", "postgres"])
def test_an_image_that_is_needed_and_not_named_is_an_error_that_names_the_key(target: str) -> None:
    images = {"job": "r/job:1", "service": "r/service:1"}
    with pytest.raises(InputError, match=f"no image for target {target}") as caught:
        settings("stg", images=images).image(target)
    assert "mlops-sdk:images" in str(caught.value)


@pulumi.runtime.test  # type: ignore[untyped-decorator]
def test_the_digest_of_a_layer_is_no_secret_and_covers_its_secrets() -> pulumi.Output[None]:
    from infra.components.cluster.layer import Layer, LayerArgs

    pulumi.runtime.set_mocks(Declared(), project="mlops-sdk", stack="stg", preview=False)
    found = settings("stg")
    one = Layer("a", LayerArgs(found, {"MLOPS_APP": "x"}, {"MLOPS_MASTER_KEY": "first"}))
    two = Layer("b", LayerArgs(found, {"MLOPS_APP": "x"}, {"MLOPS_MASTER_KEY": "second"}))

    def check(values: list[Any]) -> None:
        assert values[0] != values[1]
        assert len(values[0]) == 64
        assert values[2:] == [False, False]

    secrecy = [pulumi.Output.from_input(layer.digest.is_secret()) for layer in (one, two)]
    return pulumi.Output.all(one.digest, two.digest, *secrecy).apply(check)
