"""The program of a local environment, with Pulumi's mocks: what it declares, from config alone."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pulumi
import pulumi.runtime
import pytest

import infra.settings
from infra.given import Given, PostgresServer, http_url, postgres_server, prefect_url, webhook
from infra.kinds import local
from infra.settings import Ports, Settings, read_settings
from mlops_sdk.errors import InputError
from mlops_sdk.release.flows import FlowSpec
from mlops_sdk.release.project import Project
from mlops_sdk.runtime.passwords import derive, derive_shared
from tests.support.declared import Declared, declare
from tests.support.environment import MASTER_KEY
from tests.support.sections import a_section

PORTS = Ports(postgres=21001, mlflow=21002, prefect=21003, router=21004, agent=21005)


def declared(
    *numbers: int, live: int | None = None, change: Callable[[Settings], Settings] = lambda s: s
) -> Declared:
    sections = tuple(a_section(number) for number in numbers)

    def program() -> None:
        settings = Settings(
            project=Project(root=Path("/a project"), app="app"),
            environment="local",
            kind="local",
            ports=PORTS,
            master_key=pulumi.Output.secret(MASTER_KEY.get_secret_value()),
            releases=sections,
            live=next((one.digest for one in sections if one.seq == live), None),
        )
        local.assemble(change(settings))

    return declare(program, "local")


def test_the_platform_alone_has_its_programs_and_nothing_of_a_release() -> None:
    made = declared()
    assert {"postgres", "mlflow", "prefect-server", "prefect-worker", "router"} <= set(made.of(":Process"))
    assert set(made.of(":EnvFile")) == {"postgres-env", "environment", "operator", "mlflow-env"}
    assert not made.of(":ReleaseState")
    assert made.of(":Live")["live"].get("digest") is None


def test_there_are_queues_for_events_and_for_training_requests() -> None:
    queues = declared().of(":Queue")
    assert {name: one["queue"] for name, one in queues.items()} == {
        "events": "mlops_events",
        "trainings": "mlops_trainings",
    }


def test_a_release_is_named_by_its_digest_and_brings_its_own_resources_only() -> None:
    before, after = declared(), declared(1, live=1)
    new = set(after.resources) - set(before.resources)
    assert new == {
        "release-1aaaaaaaaaaa",
        "release-1aaaaaaaaaaa-state",
        "release-1aaaaaaaaaaa-env",
        "service-1aaaaaaaaaaa",
    }
    unchanged = {name: after.resources[name] for name in before.resources if name != "live"}
    assert unchanged == {name: value for name, value in before.resources.items() if name != "live"}


def test_going_to_another_release_and_back_gives_the_first_inputs_byte_for_byte() -> None:
    first, _second, third = declared(1, 2, live=1), declared(1, 2, live=2), declared(1, 2, live=1)
    assert json.dumps(first.resources, sort_keys=True) == json.dumps(third.resources, sort_keys=True)


def test_making_another_release_live_changes_the_resource_live_alone() -> None:
    first, second = declared(1, 2, live=1), declared(1, 2, live=2)
    assert {name for name in first.resources if first.resources[name] != second.resources[name]} == {"live"}


def test_a_service_reads_the_environment_then_its_release_and_runs_its_own_code() -> None:
    service = declared(1, live=1).resources["service-1aaaaaaaaaaa"]
    assert [Path(file).name for file in service["envFiles"]] == [
        "environment.env",
        "release-1aaaaaaaaaaa.env",
    ]
    assert service["command"][0] == "/a project/.venvs/0123456789ab/bin/python"
    assert service["directory"] == "/a project/.mlops/checkouts/cccccccccccc"
    assert service["triggers"] == ["digest of environment", "digest of release-1aaaaaaaaaaa-env"]


def test_a_release_without_a_service_has_no_process() -> None:
    def without(settings: Settings) -> Settings:
        bare = settings.releases[0].model_copy(update={"service": None})
        return replace(settings, releases=(bare,))

    assert not [name for name in declared(1, change=without).resources if name.startswith("service-")]


def with_jobs(settings: Settings) -> Settings:
    """Every release with jobs and two flows, one of them by schedule."""
    flows = {
        "daily": FlowSpec(
            run="pipelines/rfm/flow.py:daily",
            schedule="30 6 * * *",
            timezone="Europe/Berlin",
            parameters={"days": 3},
        ),
        "by-hand": FlowSpec(run="pipelines/rfm/flow.py:backfill"),
    }
    changes: dict[str, Any] = {"jobs": "pipelines.rfm.jobs:JOBS", "flows": flows}
    return replace(settings, releases=tuple(one.model_copy(update=changes) for one in settings.releases))


def test_the_jobs_of_a_release_have_a_consumer_in_its_own_code_with_both_layers() -> None:
    made = declared(1, live=1, change=with_jobs)
    consumer, service = made.resources["jobs-1aaaaaaaaaaa"], made.resources["service-1aaaaaaaaaaa"]
    assert consumer["command"][1:] == ["-P", "-m", "mlops_sdk.workload.consume", "pipelines.rfm.jobs:JOBS"]
    for same in ("envFiles", "directory", "environment", "triggers"):
        assert consumer[same] == service[same]
    assert consumer["command"][0] == service["command"][0]
    assert made.resources["release-1aaaaaaaaaaa-env"]["values"]["MLOPS_JOBS"] == "pipelines.rfm.jobs:JOBS"


def test_the_jobs_of_a_release_have_an_invoker_whose_address_and_token_are_its_variables() -> None:
    made = declared(1, 2, live=1, change=with_jobs)
    invoker, consumer = made.resources["invoker-1aaaaaaaaaaa"], made.resources["jobs-1aaaaaaaaaaa"]
    values = [made.resources[f"release-{n}aaaaaaaaaaa-env"]["values"] for n in (1, 2)]
    assert invoker["command"][1:] == [
        *("-P", "-m", "mlops_sdk.workload.invoke", "pipelines.rfm.jobs:JOBS"),
        *("--port", "22002"),
    ]
    assert values[0]["MLOPS_INVOKER_URL"] == "http://127.0.0.1:22002"
    assert invoker["readiness"] == {"kind": "http", "port": 22002, "path": "/healthcheck", "status": 200}
    for same in ("envFiles", "directory", "environment", "triggers"):
        assert invoker[same] == consumer[same]
    token = derive_shared(MASTER_KEY, "invoker").get_secret_value()
    assert [one["MLOPS_INVOKER_TOKEN"] for one in values] == [token, token]
    assert token not in json.dumps({name: one for name, one in made.resources.items() if "env" not in name})
    without = declared(1, live=1)
    assert not [name for name in without.resources if name.startswith("invoker-")]
    assert not {"MLOPS_INVOKER_URL", "MLOPS_INVOKER_TOKEN"} & set(
        without.resources["release-1aaaaaaaaaaa-env"]["values"]
    )


def test_a_flow_of_a_release_is_a_deployment_with_its_checkout_its_layer_and_the_environments_pool() -> None:
    made = declared(1, live=1, change=with_jobs)
    daily = made.resources["release-1aaaaaaaaaaa-flow-daily"]
    assert daily == {
        "flow": "daily",
        "deployment": "v0.0.1",
        "pool": "mlops",
        "apiUrl": "http://127.0.0.1:21003/api",
        "entrypoint": "pipelines/rfm/flow.py:daily",
        "checkout": "/a project/.mlops/checkouts/cccccccccccc",
        "python": "/a project/.venvs/0123456789ab/bin/python",
        "layer": "release-1aaaaaaaaaaa",
        "release": "v0.0.1",
        "digest": a_section(1).digest,
        "parameters": {"days": 3},
        "schedule": "30 6 * * *",
        "timezone": "Europe/Berlin",
    }
    assert "schedule" not in made.resources["release-1aaaaaaaaaaa-flow-by-hand"]


def test_whether_a_flow_is_paused_is_an_input_of_no_resource() -> None:
    first, second = declared(1, 2, live=1, change=with_jobs), declared(1, 2, live=2, change=with_jobs)
    third = declared(1, 2, live=1, change=with_jobs)
    assert {name for name in first.resources if first.resources[name] != second.resources[name]} == {"live"}
    assert json.dumps(first.resources, sort_keys=True) == json.dumps(third.resources, sort_keys=True)
    assert "paused" not in json.dumps(first.resources)


def test_flows_on_a_prefect_that_others_use_have_the_environments_name() -> None:
    def change(settings: Settings) -> Settings:
        return given(prefect="http://flows.example/api")(with_jobs(settings))

    flow = declared(1, change=change).resources["release-1aaaaaaaaaaa-flow-daily"]
    assert (flow["deployment"], flow["pool"]) == ("app-local-v0.0.1", "app-local")


def test_the_address_that_alerts_go_to_is_a_variable_of_the_environment() -> None:
    change = given(alerts=webhook("https://chat.example/hooks/abc"))
    values = declared(1, live=1, change=change).resources["environment"]["values"]
    assert values["MLOPS_ALERT_WEBHOOK"] == "https://chat.example/hooks/abc"
    assert "MLOPS_ALERT_WEBHOOK" not in declared(1).resources["environment"]["values"]


def test_no_secret_is_in_an_argument_or_a_plain_variable_of_a_process() -> None:
    made = declared(1, live=1)
    roles = ("postgres", "sdk", "mlflow", "source_reader", "source_owner", a_section(1).role)
    secrets = [
        MASTER_KEY.get_secret_value(),
        *(derive(MASTER_KEY, role).get_secret_value() for role in roles),
    ]
    for name, inputs in made.of(":Process").items():
        text = json.dumps(inputs)
        assert not [secret for secret in secrets if secret in text], name


def test_the_variables_of_a_release_are_those_of_its_section() -> None:
    values = declared(1, live=1).resources["release-1aaaaaaaaaaa-env"]["values"]
    assert values["MLOPS_RELEASE"] == "v0.0.1"
    assert values["MLOPS_SERVICE_PORT"] == "22001"
    assert values["MLOPS_PARAMETERS"] == '{"candidates":200}'
    assert values["MLOPS_DATABASE_PASSWORD"] == derive(MASTER_KEY, a_section(1).role).get_secret_value()


GIVEN_URL = "postgresql://admin:not-a-secret@db.example:6000"


def given(**parts: Any) -> Callable[[Settings], Settings]:
    return lambda settings: replace(settings, given=Given(**parts))


def test_a_part_that_is_given_by_its_url_has_no_process_and_the_variables_name_it() -> None:
    made = declared(
        1,
        live=1,
        change=given(
            postgres=PostgresServer("db.example", 6000, pulumi.Output.secret(GIVEN_URL)),
            mlflow="http://models.example:5000",
            prefect="http://flows.example:4200/api",
        ),
    )

    assert set(made.of(":Process")) == {"prefect-worker", "agent", "router", "service-1aaaaaaaaaaa"}
    assert set(made.of(":EnvFile")) == {"environment", "operator", "release-1aaaaaaaaaaa-env"}
    values = made.resources["environment"]["values"]
    assert values["MLFLOW_TRACKING_URI"] == "http://models.example:5000"
    assert values["PREFECT_API_URL"] == "http://flows.example:4200/api"
    assert (values["MLOPS_DATABASE_HOST"], values["MLOPS_DATABASE_PORT"]) == ("db.example", "6000")
    assert values["MLOPS_SOURCE_URL"].endswith("@db.example:6000/source")
    operator = made.resources["operator"]["values"]
    assert operator["MLOPS_OPERATOR_URL"].endswith("@db.example:6000/app")
    database = made.resources["postgres-databases"]
    assert database["adminUrl"] == GIVEN_URL
    assert not {"host", "port"} & set(database)


def test_the_administrators_url_is_in_no_other_resource() -> None:
    server = PostgresServer("db.example", 6000, pulumi.Output.secret(GIVEN_URL))
    made = declared(1, live=1, change=given(postgres=server))
    assert [name for name, inputs in made.resources.items() if "not-a-secret" in json.dumps(inputs)] == [
        "postgres-databases"
    ]


def test_a_work_pool_on_a_server_that_others_use_has_the_environments_name() -> None:
    own, shared = declared(), declared(change=given(prefect="http://flows.example/api"))
    assert own.resources["work-pool"]["pool"] == "mlops"
    assert "MLOPS_WORK_POOL" not in own.resources["environment"]["values"]
    assert shared.resources["work-pool"]["pool"] == "app-local"
    assert shared.resources["work-pool"]["apiUrl"] == "http://flows.example/api"
    assert "app-local" in shared.resources["prefect-worker"]["command"]
    assert shared.resources["environment"]["values"]["MLOPS_WORK_POOL"] == "app-local"


def test_an_mlflow_on_a_given_postgres_keeps_its_runs_there() -> None:
    server = PostgresServer("::1", 6000, pulumi.Output.secret(GIVEN_URL))
    made = declared(change=given(postgres=server))
    store = made.resources["mlflow-env"]["values"]["MLFLOW_BACKEND_STORE_URI"]
    assert store.endswith("@[::1]:6000/mlflow")


def test_urls_are_read_as_people_write_them() -> None:
    assert http_url("http://127.0.0.1:5000/") == "http://127.0.0.1:5000"
    assert prefect_url("http://h:4200") == prefect_url("http://h:4200/api/") == "http://h:4200/api"
    server = postgres_server("postgresql://admin:x@db.example")
    assert (server.host, server.port) == ("db.example", 5432)


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (http_url, "127.0.0.1:5000"),
        (http_url, "sqlite:///mlflow.db"),
        (http_url, "http://ann:hidden@h:5000"),
        (http_url, "http://h:port"),
        (prefect_url, "ftp://h"),
        (postgres_server, "http://h"),
        (postgres_server, "postgresql://db.example/hidden"),
        (postgres_server, "postgresql://admin:hidden@db.example:x"),
    ],
)
def test_what_is_no_such_url_is_refused_without_being_quoted(parse: Callable[[str], Any], text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse(text)
    assert "hidden" not in str(caught.value)


def test_a_postgres_whose_url_is_plain_text_or_was_lost_is_refused() -> None:
    base = {"kind": "local", "masterKey": "x", "ports": PORTS.model_dump_json()}
    for value, message in ((GIVEN_URL, "mlops secrets set"), ("", "set it again")):
        pulumi.runtime.set_mocks(Declared(), project="mlops-sdk", stack="local", preview=False)
        config = {f"mlops-sdk:{key}": text for key, text in {**base, "postgresUrl": value}.items()}
        pulumi.runtime.set_all_config(config, ["mlops-sdk:masterKey"])
        with pytest.raises(InputError, match=message) as caught:
            read_settings()
        assert "not-a-secret" not in str(caught.value)


def test_the_settings_take_what_config_gives() -> None:
    values = {
        "kind": "local",
        "masterKey": "x",
        "ports": PORTS.model_dump_json(),
        "postgresUrl": GIVEN_URL,
        "mlflowUrl": "http://models.example/",
        "prefectUrl": "http://flows.example",
    }
    pulumi.runtime.set_mocks(Declared(), project="mlops-sdk", stack="local", preview=False)
    pulumi.runtime.set_all_config(
        {f"mlops-sdk:{key}": value for key, value in values.items()},
        ["mlops-sdk:masterKey", "mlops-sdk:postgresUrl"],
    )
    settings = read_settings()
    assert (settings.mlflow_url, settings.prefect_api_url) == (
        "http://models.example",
        "http://flows.example/api",
    )
    assert (settings.database_host, settings.database_port) == ("db.example", 6000)


def test_a_registry_of_the_project_is_that_of_an_environment_which_is_given_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    facts = Project(root=Path("/p"), app="app", registry_uri="http://all.example")
    monkeypatch.setattr(infra.settings, "load_project", lambda _: facts)
    base = {"kind": "local", "masterKey": "x", "ports": PORTS.model_dump_json()}
    for own, expected in (
        ({}, "http://all.example"),
        ({"mlflowUrl": "http://own.example"}, "http://own.example"),
    ):
        pulumi.runtime.set_mocks(Declared(), project="mlops-sdk", stack="local", preview=False)
        config = {f"mlops-sdk:{key}": value for key, value in {**base, **own}.items()}
        pulumi.runtime.set_all_config(config, ["mlops-sdk:masterKey"])
        assert read_settings().given.mlflow == expected


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mlflowUrl": "models.example"}, "mlflowUrl"),
        ({"prefectUrl": "flows.example"}, "prefectUrl"),
        ({"kind": "moon"}, "'moon' is no kind"),
        ({"masterKey": None}, "masterKey"),
        ({"mlflowURL": "http://models.example"}, "mlflowURL.*no key of kind local.*'mlflowUrl'"),
        ({"quota": "{}"}, "quota.*no key of kind local.*take it out"),
        ({"ports": '{"postgres": 1}'}, "ports"),
        ({"live": "sha256:" + "9" * 64}, "live"),
        ({"releases": '{"000000000000": {"release": "v0.0.1"}}'}, "releases.000000000000"),
    ],
)
def test_a_fault_of_the_config_names_its_key(changes: dict[str, str | None], message: str) -> None:
    values = {"kind": "local", "masterKey": "x", "ports": PORTS.model_dump_json(), **changes}
    pulumi.runtime.set_mocks(Declared(), project="mlops-sdk", stack="local", preview=False)
    pulumi.runtime.set_all_config(
        {f"mlops-sdk:{key}": value for key, value in values.items() if value is not None},
        ["mlops-sdk:masterKey"],
    )
    with pytest.raises(InputError, match=message):
        read_settings()
