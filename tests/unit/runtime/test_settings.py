"""The table of keys, rendered and parsed."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from mlops_sdk.errors import InputError, NotFoundError
from mlops_sdk.runtime import env_file, reference, render
from mlops_sdk.runtime.keys import BY_FIELD, BY_NAME, KEYS, of_layer
from mlops_sdk.runtime.settings import (
    BuildOrder,
    BuildSettings,
    EnvironmentSettings,
    ModelPin,
    OperatorSettings,
    ServiceSettings,
)

ROOT = Path(__file__).parents[3]
DIGEST = "sha256:" + "1" * 64
PASSWORD = "p'a\"s $w\\d#"
ENVIRONMENT = {
    "MLOPS_ENVIRONMENT": "local",
    "MLOPS_KIND": "local",
    "MLOPS_APP": "recommender",
    "MLOPS_PROJECT_ROOT": "/srv/a project",
    "MLFLOW_TRACKING_URI": "http://127.0.0.1:5000",
    "PREFECT_API_URL": "http://127.0.0.1:4200/api",
    "MLOPS_DATABASE_HOST": "127.0.0.1",
    "MLOPS_DATABASE_PORT": "5432",
    "MLOPS_DATABASE_NAME": "recommender",
    "MLOPS_SOURCE_URL": "postgresql://source_reader:hidden@127.0.0.1/source",
    "MLOPS_ROUTER_URL": "http://127.0.0.1:8080",
    "MLOPS_MODEL_CACHE": "/srv/models",
}
MODELS = {"embedder": ModelPin(name="movie-embedder", version=1, digest=DIGEST)}
RELEASE = {
    "MLOPS_RELEASE": "v0.0.1",
    "MLOPS_RELEASE_DIGEST": DIGEST,
    "MLOPS_COMMIT": "a" * 40,
    "MLOPS_DATABASE_USER": "rel_recommender_000001_11111111",
    "MLOPS_DATABASE_PASSWORD": PASSWORD,
    "MLOPS_STATE": "a.b:STATE",
    "MLOPS_MODELS": json.dumps({key: pin.document() for key, pin in MODELS.items()}),
    "MLOPS_PARAMETERS": '{"candidates": 200, "text": "it\'s"}',
}
SERVICE = {"MLOPS_PG_SCHEMA": "rel_recommender_000001_11111111", "MLOPS_SERVICE_PORT": "8001"}
ORDER = BuildOrder(table="content", fingerprint="f", attempt=1, physical="p_content_f", role="build_f_1")
OPERATOR = {"MLOPS_OPERATOR_URL": "a", "MLOPS_MASTER_KEY": "b", "MLOPS_SOURCE_OWNER_URL": "c"}


def service(values: Mapping[str, str] | None = None) -> ServiceSettings:
    return ServiceSettings.parse(values if values is not None else {**ENVIRONMENT, **RELEASE, **SERVICE})


def revealed(variables: Mapping[str, str | SecretStr]) -> dict[str, str]:
    return {n: v.get_secret_value() if isinstance(v, SecretStr) else v for n, v in variables.items()}


def test_variables_become_typed_settings() -> None:
    settings = service()
    assert settings.database_port == 5432
    assert settings.project_root == Path("/srv/a project")
    assert settings.models == MODELS
    assert settings.parameters == {"candidates": 200, "text": "it's"}
    assert settings.service is None
    assert settings.database_password.get_secret_value() == PASSWORD


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (EnvironmentSettings, ENVIRONMENT),
        (OperatorSettings, OPERATOR),
        (ServiceSettings, {**ENVIRONMENT, **RELEASE, **SERVICE}),
        (BuildSettings, {**ENVIRONMENT, **RELEASE, "MLOPS_BUILD": json.dumps(ORDER.document())}),
    ],
)
def test_what_is_rendered_is_parsed_as_the_same_settings(
    kind: type[EnvironmentSettings], values: dict[str, str]
) -> None:
    settings = kind.parse(values)
    text = render.env_text(settings.variables()).get_secret_value()
    assert kind.parse(env_file.parse(text)) == settings
    assert set(env_file.parse(text)) == set(values)


def test_every_key_is_a_setting_of_its_layer_and_the_other_way_round() -> None:
    environment, operator = set(EnvironmentSettings.model_fields), set(OperatorSettings.model_fields)
    assert environment == {key.field for key in of_layer("environment")}
    assert operator == {key.field for key in of_layer("operator")}
    assert set(ServiceSettings.model_fields) - environment == {key.field for key in of_layer("release")}
    assert set(BuildSettings.model_fields) - environment == {key.field for key in of_layer("build")}


@pytest.mark.parametrize("kind", [EnvironmentSettings, OperatorSettings, ServiceSettings, BuildSettings])
def test_secret_keys_are_secret_settings_and_required_ones_have_no_default(
    kind: type[EnvironmentSettings],
) -> None:
    for name, field in kind.model_fields.items():
        assert (field.annotation in (SecretStr, SecretStr | None)) == BY_FIELD[name].secret, name
        assert field.is_required() == BY_FIELD[name].required, name


def test_names_and_fields_are_unique() -> None:
    assert len(BY_NAME) == len(BY_FIELD) == len(KEYS)


def test_every_missing_and_malformed_key_is_named_with_environment_and_source() -> None:
    values = {**ENVIRONMENT, **RELEASE, **SERVICE, "MLOPS_MODELS": "{s3cret", "MLOPS_DATABASE_PORT": "s3cret"}
    del values["MLOPS_PG_SCHEMA"]
    values["MLOPS_RELEASE"] = ""
    with pytest.raises(InputError) as caught:
        service(values)
    text = str(caught.value)
    assert "environment local" in text
    assert "MLOPS_PG_SCHEMA: missing (the release's Postgres schema); the release's binding" in text
    assert "MLOPS_RELEASE: missing" in text
    assert "MLOPS_MODELS: Value error, not valid JSON" in text
    assert "MLOPS_DATABASE_PORT: Input should be a valid integer" in text
    assert "mlops up local" in text
    assert "s3cret" not in text


def test_a_model_pin_with_a_wrong_digest_is_refused() -> None:
    values = {**ENVIRONMENT, **RELEASE, **SERVICE}
    values["MLOPS_MODELS"] = '{"a": {"name": "x", "version": 1, "digest": "md5:1"}}'
    with pytest.raises(InputError, match="MLOPS_MODELS"):
        service(values)


def test_settings_are_frozen_and_do_not_show_their_secrets() -> None:
    settings = service()
    with pytest.raises(ValidationError):
        settings.release = "v0.0.2"
    for text in (repr(settings), str(settings), str(settings.variables()), settings.model_dump_json()):
        assert PASSWORD not in text
        assert "hidden" not in text


def test_the_connection_string_has_role_password_and_application() -> None:
    from psycopg.conninfo import conninfo_to_dict

    conninfo = service().database_conninfo()
    assert PASSWORD not in str(conninfo)
    assert conninfo_to_dict(conninfo.get_secret_value()) == {
        "host": "127.0.0.1",
        "port": "5432",
        "dbname": "recommender",
        "user": RELEASE["MLOPS_DATABASE_USER"],
        "password": PASSWORD,
        "application_name": "recommender v0.0.1",
    }


def test_config_map_and_secret_part_the_variables() -> None:
    variables = service().variables()
    plain, secret = render.config_map(variables), render.secret(variables)
    assert set(secret) == {"MLOPS_SOURCE_URL", "MLOPS_DATABASE_PASSWORD"}
    assert {**plain, **revealed(secret)} == revealed(variables)


def test_a_secret_that_is_given_as_plain_text_is_refused_without_showing_it() -> None:
    with pytest.raises(InputError, match="secret, but given as plain text: MLOPS_MASTER_KEY") as caught:
        render.config_map({"MLOPS_MASTER_KEY": "s3cret"})
    assert "s3cret" not in str(caught.value)


def test_a_variable_that_the_table_lacks_is_refused() -> None:
    with pytest.raises(InputError, match="no such key of the runtime environment: MLOPS_X"):
        render.secret({"MLOPS_X": "1"})


def test_the_process_environment_wins_over_files_and_later_files_over_earlier(tmp_path: Path) -> None:
    env_file.write(tmp_path / "env" / "environment.env", ENVIRONMENT)
    env_file.write(tmp_path / "env" / "release-1.env", {**RELEASE, **SERVICE, "MLOPS_DATABASE_HOST": "later"})
    environ = {"MLOPS_DATABASE_PORT": "15432"}
    settings = ServiceSettings.load(tmp_path, "environment", "release-1", environ=environ)
    assert (settings.database_host, settings.database_port) == ("later", 15432)


def test_written_settings_are_loaded_as_the_same(tmp_path: Path) -> None:
    settings = service()
    settings.write(tmp_path / "env" / "release-1.env")
    assert (tmp_path / "env" / "release-1.env").stat().st_mode & 0o777 == 0o600
    assert ServiceSettings.load(tmp_path, "release-1", environ={}) == settings


def test_a_missing_file_says_who_writes_it(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="mlops up"):
        EnvironmentSettings.load(tmp_path, "environment", environ={})


def test_the_committed_reference_page_is_that_of_the_table() -> None:
    committed = (ROOT / "docs" / "reference" / "environment.md").read_text(encoding="utf-8")
    assert committed == reference.render(), (
        "python -m mlops_sdk.runtime.reference > docs/reference/environment.md"
    )
