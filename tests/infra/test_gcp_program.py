"""The program of an environment on Google Cloud, with Pulumi's mocks: what it has around its namespace."""

import json

from infra import job_template
from infra.components.gcp.cluster import kubeconfig
from infra.components.gcp.invoker import SECRETS
from infra.naming import account_id
from mlops_sdk.runtime.passwords import derive
from mlops_sdk.runtime.settings import ServiceSettings
from tests.standins.gcp.property_names import faults
from tests.support.cluster_stacks import declared, settings
from tests.support.environment import MASTER_KEY
from tests.support.sections import a_section, digest12


def test_the_database_has_a_private_address_alone_and_any_point_in_time() -> None:
    (instance,) = declared("prd").of(":DatabaseInstance").values()
    found = instance["settings"]
    assert found["ipConfiguration"]["ipv4Enabled"] is False
    assert found["ipConfiguration"]["sslMode"] == "ENCRYPTED_ONLY"
    backups = found["backupConfiguration"]
    assert (backups["enabled"], backups["pointInTimeRecoveryEnabled"]) == (True, True)
    assert backups["backupRetentionSettings"]["retainedBackups"] == 14
    assert found["availabilityType"] == "REGIONAL"
    assert {"name": "cloudsql.iam_authentication", "value": "on"} in found["databaseFlags"]


def test_pods_reach_the_database_by_the_same_name_as_on_any_cluster() -> None:
    made = declared("prd")
    assert made.resources["env-shown"]["data"]["MLOPS_DATABASE_HOST"] == "postgres"
    assert made.resources["postgres-address"]["endpoints"] == [{"addresses": ["10.9.8.7"]}]
    assert (
        made.resources["postgres-address"]["metadata"]["labels"]["kubernetes.io/service-name"] == "postgres"
    )
    admin = made.resources["administrator-secret"]["stringData"]["MLOPS_ADMIN_URL"]
    password = derive(MASTER_KEY, "postgres").get_secret_value()
    assert admin == f"postgresql://postgres:{password}@postgres:5432/postgres"
    assert not made.of(":StatefulSet")


def test_each_queue_has_a_subscription_and_dead_letters_which_pubsub_itself_may_move() -> None:
    made = declared("prd")
    topics = {one["name"] for one in made.of(":Topic").values()}
    queues = ("mlops_events", "mlops_trainings")
    assert topics == {*queues, *(f"{queue}_dead" for queue in queues)}
    for queue in queues:
        subscription = made.resources[f"subscription-{queue}"]
        assert subscription["deadLetterPolicy"]["deadLetterTopic"] == f"topic-{queue}_dead"
        assert subscription["enableMessageOrdering"] is True
        mover = "serviceAccount:service-1@gcp-sa-pubsub.iam.gserviceaccount.com"
        assert made.resources[f"send-{queue}-dead-letters"]["member"] == mover
        assert made.resources[f"send-{queue}-dead-letters"]["topic"] == f"{queue}_dead"
        assert made.resources[f"receive-{queue}-dead-letters"]["member"] == mover
        assert made.resources[f"receive-{queue}-dead-letters"]["subscription"] == queue
        assert "deadLetterPolicy" not in made.resources[f"subscription-{queue}_dead"]
        for part in ("agent", "flow-run"):  # a consumer that gives up sends the dead letter itself
            assert made.resources[f"send-{queue}-dead-{part}"]["topic"] == f"{queue}_dead"
        assert f"send-{queue}-dead-invoker" not in made.resources


def test_the_queues_are_those_of_the_messenger() -> None:
    from mlops_sdk.messaging import pubsub_topics as topics

    made = declared("prd")
    for name in ("mlops_events", "mlops_events_dead"):
        ours = made.resources[f"subscription-{name}"]
        theirs = topics.subscription_request("p", "mlops_events", name)
        assert ours["ackDeadlineSeconds"] == theirs["ack_deadline_seconds"]
        assert ours["enableMessageOrdering"] == theirs["enable_message_ordering"]
        retention = theirs["message_retention_duration"]["seconds"]
        assert ours["messageRetentionDuration"] == f"{retention}s"
        attempts = theirs.get("dead_letter_policy", {}).get("max_delivery_attempts")
        assert ours.get("deadLetterPolicy", {}).get("maxDeliveryAttempts") == attempts


def test_without_pubsub_there_is_no_topic() -> None:
    assert not declared("prd", messages="pgmq").of(":Topic")


def test_a_part_acts_as_its_own_account_by_workload_identity() -> None:
    made = declared("prd")
    for part in ("mlflow", "agent", "flow-run"):
        annotations = made.resources[f"{part}-account"]["metadata"]["annotations"]
        assert annotations["iam.gke.io/gcp-service-account"] == f"account-{part}@p.iam.gserviceaccount.com"
        assert (
            made.resources[f"workload-{part}"]["member"]
            == f"serviceAccount:recommender-prd.svc.id.goog[recommender-prd/{part}]"
        )
    pod = job_template.of(settings("prd"))["job_configuration"]["job_manifest"]["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == "flow-run"
    assert pod["automountServiceAccountToken"] is False


def test_artifacts_are_in_a_bucket_that_mlflow_alone_writes() -> None:
    made = declared("prd")
    (bucket,) = made.of("/bucket:Bucket").values()
    (writer,) = made.of(":BucketIAMMember").values()
    assert bucket["publicAccessPrevention"] == "enforced"
    assert writer["member"] == "serviceAccount:account-mlflow@p"
    command = made.resources["mlflow-deployment"]["spec"]["template"]["spec"]["containers"][0]["command"]
    assert command[-1] == "gs://recommender-prd-recommender-prd-artifacts"
    assert "mlflow-artifacts-claim" not in made.resources


def test_the_cluster_has_private_nodes_and_its_kubeconfig_no_secret() -> None:
    made = declared("prd")
    (cluster,) = made.of("container/cluster:Cluster").values()
    assert cluster["enableAutopilot"] is True
    assert cluster["privateClusterConfig"] == {"enablePrivateNodes": True, "enablePrivateEndpoint": True}
    text = json.dumps(kubeconfig("recommender-prd", "gke-1.example"))
    assert "gke-gcloud-auth-plugin" in text
    assert "token" not in text


def test_the_invoker_is_where_config_says() -> None:
    release, name = a_section(1, jobs="pipelines.rfm.job:JOBS"), f"invoker-{digest12(1)}"
    inside, on_cloud_run = declared("prd", release, invokerOn="cluster"), declared("prd", release)
    pod = inside.resources[f"{name}-deployment"]["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == "invoker"  # it may send messages and not receive them
    assert not inside.of("cloudrunv2/service:Service")
    assert not inside.of("secretmanager/secret:Secret")
    assert f"{name}-deployment" not in on_cloud_run.resources
    (service,) = on_cloud_run.of("cloudrunv2/service:Service").values()
    assert service["ingress"] == "INGRESS_TRAFFIC_INTERNAL_ONLY"
    assert service["name"] == name
    layers = [
        on_cloud_run.resources[layer]["data"] for layer in ("env-shown", f"release-{digest12(1)}-shown")
    ]
    assert layers[1]["MLOPS_INVOKER_URL"] == f"https://{name}-run.example"
    (one,) = service["template"]["containers"]
    shown = {entry["name"]: entry["value"] for entry in one["envs"] if "value" in entry}
    assert shown["MLOPS_DATABASE_HOST"] == "10.9.8.7"
    assert {**layers[0], **layers[1], **shown, "MLOPS_INVOKER_URL": ""} == {**shown, "MLOPS_INVOKER_URL": ""}
    secret = {
        entry["name"]: entry["valueSource"]["secretKeyRef"] for entry in one["envs"] if "value" not in entry
    }
    assert set(secret) == {"MLOPS_SOURCE_URL", "MLOPS_DATABASE_PASSWORD", "MLOPS_INVOKER_TOKEN"}
    url = on_cloud_run.resources[f"{name}-source-url-value"]["secretData"]
    assert "@10.9.8.7:5432/source" in url
    assert url not in json.dumps(service)
    for reader in on_cloud_run.of(":SecretIamMember").values():
        assert reader["member"] == "serviceAccount:account-invoker@p"


def test_what_a_release_s_invoker_reads_is_all_that_a_release_s_program_needs() -> None:
    release = a_section(1, jobs="pipelines.rfm.job:JOBS")
    made = declared("prd", release)
    (service,) = made.of("cloudrunv2/service:Service").values()
    (one,) = service["template"]["containers"]
    secrets = dict.fromkeys(SECRETS, "a secret") | {"MLOPS_SOURCE_URL": "postgresql://a:b@c/d"}
    environ = {entry["name"]: entry.get("value", secrets.get(entry["name"])) for entry in one["envs"]}
    settings_read = ServiceSettings.parse(environ)
    assert settings_read.jobs == "pipelines.rfm.job:JOBS"
    assert settings_read.database_host == "10.9.8.7"
    assert settings_read.invoker_token is not None


def test_somebody_is_told_of_dead_letters_a_full_disk_and_a_service_that_does_not_answer() -> None:
    made = declared("prd")
    titles = {one["displayName"].partition(": ")[2] for one in made.of(":AlertPolicy").values()}
    assert {"there are dead letters", "database disk is 85 % full", "does not answer"} <= titles
    for one in made.of(":AlertPolicy").values():
        assert one["notificationChannels"] == ["projects/p/notificationChannels/alerts-mail"]
    quiet = declared("prd", host=None)
    assert not quiet.of(":UptimeCheckConfig")


def test_a_release_is_the_same_objects_as_on_any_cluster() -> None:
    before, after = declared("prd"), declared("prd", a_section(1))
    new = {name for name in after.resources if name not in before.resources and after.resources[name]}
    assert {after.resources[name]["metadata"]["name"].rpartition("-")[2] for name in new} == {digest12(1)}
    assert not [name for name in new if after.types[name].startswith("gcp:")]


def test_every_property_is_one_of_pulumi_gcps_own_classes() -> None:
    for place in ("cluster", "cloud-run"):
        made = declared("prd", a_section(1, jobs="pipelines.rfm.job:JOBS"), live=1, invokerOn=place)
        google = {name: token for name, token in made.types.items() if token.startswith("gcp:")}
        assert len(google) > 60
        wrong = {name: faults(token, made.resources[name]) for name, token in google.items()}
        assert not {name: found for name, found in wrong.items() if found}


def test_googles_load_balancer_asks_for_readiness_and_comes_from_its_own_ranges() -> None:
    made = declared("prd", a_section(1))
    name = f"service-{digest12(1)}"
    check = made.resources[f"{name}-health"]["spec"]
    assert check["default"]["config"]["httpHealthCheck"] == {"port": 8000, "requestPath": "/readyz"}
    assert check["targetRef"]["name"] == name
    (rule,) = made.resources[f"{name}-policy"]["spec"]["ingress"]
    ranges = [one["ipBlock"]["cidr"] for one in rule["from"] if "ipBlock" in one]
    assert ranges == ["10.10.16.0/23", "130.211.0.0/22", "35.191.0.0/16"]
    assert made.resources["network-proxies"]["ipCidrRange"] == ranges[0]


def test_what_carries_messages_is_told_by_a_variable() -> None:
    key = "MLOPS_PUBSUB_PROJECT"
    assert declared("prd").resources["env-shown"]["data"][key] == "recommender-prd"
    assert key not in declared("prd", messages="pgmq").resources["env-shown"]["data"]


def test_the_ids_of_accounts_fit_into_googles_limit_and_stay_different() -> None:
    ids = {account_id("a_very_long_name_of_an_app", env, "flow-run") for env in ("prd", "prd-eu")}
    assert len(ids) == 2
    assert all(len(one) <= 30 for one in ids)
    assert account_id("recommender", "prd", "mlflow") == "recommender-prd-mlflow"
