"""The provider's resources that live in Postgres: what is there, what is gone, and what nobody can tell."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr

from mlops_sdk.errors import (
    InputError,
    LeaseHeldError,
    MovedError,
    NotFoundError,
    PolicyError,
    UnreachableError,
)
from mlops_sdk.ledger.database import LeaseLostError
from mlops_sdk.ledger.lease import Holder, Lease, break_lease
from mlops_sdk.platform.supervisor import ProgramStatus
from mlops_sdk.provider.database import DatabaseHandler
from mlops_sdk.provider.guard import can_be_asked, refuse_if_late, refuse_if_moved
from mlops_sdk.provider.handler import Environment as ProviderEnvironment
from mlops_sdk.provider.live import LiveHandler
from mlops_sdk.provider.queue import QueueHandler
from mlops_sdk.provider.release_state import ReleaseStateHandler
from mlops_sdk.provider.values import Plain
from mlops_sdk.runtime.passwords import derive
from mlops_sdk.runtime.settings import OperatorSettings
from mlops_sdk.stack.config_file import ConfigFile
from mlops_sdk.state import Forked, State
from mlops_sdk.traffic.router_files import prepare_router
from tests.support.environment import MASTER_KEY, Environment
from tests.support.postgres import ADMINISTRATOR
from tests.support.releases import Releases
from tests.support.settings_files import write_settings
from tests.support.tables import metadata, users

NOWHERE = SecretStr("postgresql://sdk:not-a-password@127.0.0.1:9/none")


class RunningDatabase:
    """Stands for the supervisor of an environment whose Postgres is the test's own server."""

    def status(self, name: str) -> ProgramStatus:
        return ProgramStatus(name, "RUNNING", 1, 1.0, "")


@pytest.fixture
def provider(environment: Environment, tmp_path: Path) -> ProviderEnvironment:
    found = ProviderEnvironment("local", tmp_path)
    found.__dict__["supervisor"] = RunningDatabase()
    write_operator(found, environment.conninfo())
    return found


def write_operator(provider: ProviderEnvironment, url: SecretStr) -> None:
    (provider.folder / "env").mkdir(parents=True, exist_ok=True)
    settings = OperatorSettings(operator_url=url, master_key=MASTER_KEY, source_owner_url=url)
    settings.write(provider.folder / "env" / "operator.env")


@pytest.fixture
def releases(environment: Environment, tmp_path: Path) -> Releases:
    """Two prepared releases, of which v0.0.1 is live; v0.0.3 is bound, and its fork is missing."""
    found = Releases(environment, tmp_path)
    for tag in ("v0.0.1", "v0.0.2", "v0.0.3"):
        found.lock(tag, State(Forked(users(metadata()))))
    found.deploy("v0.0.1")
    found.prepare("v0.0.2")
    found.bind("v0.0.3")
    return found


def state_inputs(releases: Releases, tag: str) -> Plain:
    binding = releases.bind(tag)
    return {
        "digest": binding.digest,
        "release": tag,
        "pgSchema": binding.pg_schema,
        "role": binding.role,
        "password": derive(MASTER_KEY, binding.role).get_secret_value(),
    }


def admin(environment: Environment) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(environment.admin.get_secret_value(), autocommit=True)


def test_a_queue_is_made_once_and_read_back_until_it_is_dropped(provider: ProviderEnvironment) -> None:
    handler, inputs = QueueHandler(), {"queue": "alerts"}
    assert handler.read(provider, inputs) is None

    handler.apply(provider, inputs, None)
    handler.apply(provider, inputs, inputs)
    assert handler.read(provider, inputs) == {}

    handler.delete(provider, inputs)
    handler.delete(provider, inputs)
    assert handler.read(provider, inputs) is None


def test_a_queue_stays_with_its_messages_when_the_whole_environment_is_destroyed(
    provider: ProviderEnvironment,
) -> None:
    handler, inputs = QueueHandler(), {"queue": "alerts"}
    handler.apply(provider, inputs, None)
    provider.leaving.set()

    handler.delete(provider, inputs)

    assert handler.read(provider, inputs) == {}


def test_a_server_that_does_not_answer_is_an_error_and_never_gone(
    provider: ProviderEnvironment, releases: Releases
) -> None:
    inputs = state_inputs(releases, "v0.0.1")
    write_operator(provider, NOWHERE)

    for read in (
        lambda: QueueHandler().read(provider, {"queue": "alerts"}),
        lambda: ReleaseStateHandler().read(provider, inputs),
        lambda: LiveHandler().read(provider, {"digest": inputs["digest"], "servicePort": 1}),
    ):
        with pytest.raises(UnreachableError):
            read()


def database_inputs(environment: Environment, key: SecretStr = MASTER_KEY) -> Plain:
    info = psycopg.conninfo.conninfo_to_dict(environment.admin.get_secret_value())
    return {
        "host": info["host"],
        "port": info["port"],
        "app": environment.app,
        "masterKey": key.get_secret_value(),
    }


@pytest.fixture
def superuser_has_derived_password(environment: Environment) -> Iterator[None]:
    """In an environment the superuser's password is derived as all others are."""
    password = psycopg.conninfo.conninfo_to_dict(environment.admin.get_secret_value())["password"]
    with admin(environment) as conn:
        try:
            _set_password(conn, derive(MASTER_KEY, "postgres").get_secret_value())
            yield
        finally:
            _set_password(conn, str(password))


def _set_password(conn: psycopg.Connection[tuple[object, ...]], password: str) -> None:
    conn.execute(sql.SQL("ALTER ROLE postgres PASSWORD {}").format(sql.Literal(password)))


def test_the_database_says_its_ledgers_version_and_whether_it_is_there(
    environment: Environment, provider: ProviderEnvironment, superuser_has_derived_password: None
) -> None:
    handler, inputs = DatabaseHandler(), database_inputs(environment)
    handler.apply(provider, inputs, inputs)

    found = handler.read(provider, inputs)

    assert found == handler.outputs(provider, inputs)
    assert handler.drift(provider, inputs, found) is None
    assert handler.drift(provider, inputs, {"ledgerVersion": 0}) == "ledgerVersion"
    assert handler.read(provider, {**inputs, "app": "no_such_database"}) is None


def test_a_new_master_key_gives_every_role_a_new_password(
    environment: Environment, provider: ProviderEnvironment, superuser_has_derived_password: None
) -> None:
    old, new = database_inputs(environment), SecretStr("YW5vdGhlciBrZXkgb2YgMzIgYnl0ZXMgb3Igc28uLi4")
    DatabaseHandler().apply(provider, old, old)
    try:
        DatabaseHandler().apply(provider, database_inputs(environment, new), old)

        url = environment.database.conninfo(user="sdk", password=derive(new, "sdk").get_secret_value())
        psycopg.connect(url).close()
        with pytest.raises(psycopg.OperationalError, match="authentication"):
            psycopg.connect(environment.conninfo().get_secret_value())
    finally:
        DatabaseHandler().apply(provider, old, database_inputs(environment, new))


def given_inputs(environment: Environment, key: SecretStr = MASTER_KEY) -> Plain:
    """Inputs for a server that somebody else runs: by the URL of an administrator who is no superuser."""
    url = environment.database.conninfo(user=ADMINISTRATOR)
    return {"app": environment.app, "masterKey": key.get_secret_value(), "adminUrl": url}


def test_a_given_server_is_installed_by_its_administrators_url_and_read_back(
    environment: Environment, provider: ProviderEnvironment
) -> None:
    handler, inputs = DatabaseHandler(), given_inputs(environment)
    handler.apply(provider, inputs, None)
    handler.apply(provider, inputs, inputs)

    assert handler.read(provider, inputs) == handler.outputs(provider, inputs)
    psycopg.connect(environment.conninfo().get_secret_value()).close()


def test_a_given_server_that_belongs_to_another_environment_is_refused_and_keeps_its_passwords(
    environment: Environment, provider: ProviderEnvironment
) -> None:
    handler, mine = DatabaseHandler(), given_inputs(environment)
    handler.apply(provider, mine, None)
    other = given_inputs(environment, SecretStr("YW5vdGhlciBrZXkgb2YgMzIgYnl0ZXMgb3Igc28uLi4"))

    with pytest.raises(PolicyError, match=f"belongs to environment local with database {environment.app}"):
        handler.apply(ProviderEnvironment("prd", provider.root), other, None)
    with pytest.raises(PolicyError, match=f"belongs to environment local with database {environment.app}"):
        handler.apply(provider, {**other, "app": "elsewhere"}, None)

    psycopg.connect(environment.conninfo().get_secret_value()).close()


def test_an_administrators_url_that_cannot_be_read_is_not_quoted(
    environment: Environment, provider: ProviderEnvironment
) -> None:
    wrong = {**given_inputs(environment), "adminUrl": "postgresql://admin:hidden%zz@127.0.0.1:9"}
    with pytest.raises(InputError, match="none that Postgres understands") as caught:
        DatabaseHandler().apply(provider, wrong, None)
    assert "hidden" not in str(caught.value)
    assert caught.value.__cause__ is None


class NoDatabase:
    """Stands for the supervisor of an environment that runs no Postgres of its own."""

    def status(self, name: str) -> None:
        del name


def test_a_ledger_on_a_given_server_is_asked_although_no_process_of_it_runs_here(
    environment: Environment, provider: ProviderEnvironment, tmp_path: Path
) -> None:
    provider.__dict__["supervisor"] = NoDatabase()
    file = ConfigFile(tmp_path / "stacks", "local")
    file.write({"config": {"mlops-sdk:kind": "local"}})
    assert not can_be_asked(provider)
    file.write({"config": {"mlops-sdk:postgresUrl": {"secure": "v1:x"}}})
    assert can_be_asked(provider)
    write_operator(provider, NOWHERE)
    with pytest.raises(UnreachableError):
        refuse_if_moved(provider)


def test_a_release_is_cut_once_and_gone_only_when_its_schema_is(
    environment: Environment, provider: ProviderEnvironment, releases: Releases
) -> None:
    handler, inputs = ReleaseStateHandler(), state_inputs(releases, "v0.0.2")
    handler.apply(provider, inputs, inputs)
    assert handler.read(provider, inputs) == {}

    schema = sql.Identifier(str(inputs["pgSchema"]))
    with admin(environment) as conn:
        conn.execute(sql.SQL("ALTER SCHEMA {} RENAME TO hidden").format(schema))
        assert handler.read(provider, inputs) is None
        conn.execute(sql.SQL("ALTER SCHEMA hidden RENAME TO {}").format(schema))
    assert handler.read(provider, inputs) == {}


def test_a_release_that_was_not_made_ready_names_the_command_that_does_it(
    provider: ProviderEnvironment, releases: Releases
) -> None:
    with pytest.raises(PolicyError, match=r"mlops deploy stacks/releases/v0\.0\.3\.yaml"):
        ReleaseStateHandler().apply(provider, state_inputs(releases, "v0.0.3"), None)
    unknown = {**state_inputs(releases, "v0.0.2"), "digest": f"sha256:{'0' * 64}"}
    with pytest.raises(NotFoundError, match="mlops deploy"):
        ReleaseStateHandler().apply(provider, unknown, None)
    assert ReleaseStateHandler().read(provider, unknown) is None


def test_removing_a_release_says_that_it_is_unwanted_and_drops_nothing(
    environment: Environment, provider: ProviderEnvironment, releases: Releases
) -> None:
    handler, inputs = ReleaseStateHandler(), state_inputs(releases, "v0.0.2")

    handler.delete(provider, inputs)

    with admin(environment) as conn:
        rows = conn.execute(
            "SELECT status FROM mlops.binding WHERE digest = %s", [inputs["digest"]]
        ).fetchall()
    assert rows == [("unreferenced",)]
    assert handler.read(provider, inputs) == {}
    with pytest.raises(PolicyError, match="is live"):
        handler.delete(provider, state_inputs(releases, "v0.0.1"))


@pytest.fixture
def configured(provider: ProviderEnvironment, releases: Releases) -> ConfigFile:
    """Stack config that a person wrote by hand: v0.0.2 live, caused by no entry; a router's folder, and no Prefect."""
    write_settings(releases.environment, provider.folder, provider.root, app="shop")
    prepare_router(provider.folder / "router", 1)
    (provider.root / "stacks").mkdir()
    config = ConfigFile(provider.root / "stacks", "local")
    config.write({"config": {"mlops-sdk:live": releases.locks["v0.0.2"].digest}})
    return config


def live_inputs(releases: Releases, tag: str) -> Plain:
    binding = releases.bind(tag)
    return {"digest": binding.digest, "servicePort": binding.service_port}


def test_live_hands_over_routes_and_finds_itself_there_the_second_time(
    provider: ProviderEnvironment, releases: Releases, configured: ConfigFile
) -> None:
    handler, inputs = LiveHandler(), live_inputs(releases, "v0.0.2")
    outputs = handler.outputs(provider, inputs)
    assert handler.drift(provider, inputs, outputs) == "pointer"

    handler.apply(provider, inputs, None)
    entries = releases.environment.ledger.entries()
    handler.apply(provider, inputs, inputs)

    assert handler.read(provider, inputs) == outputs
    assert handler.drift(provider, inputs, outputs) is None
    assert releases.environment.ledger.entries() == entries


def test_a_config_that_the_ledger_went_past_is_refused_and_says_how_to_sync(
    provider: ProviderEnvironment, releases: Releases, configured: ConfigFile
) -> None:
    with pytest.raises(MovedError, match="mlops stack sync local"):
        refuse_if_moved(provider)  # the entry of v0.0.1 was caused by something else


def test_a_config_from_which_somebody_took_the_live_release_is_refused(
    provider: ProviderEnvironment, releases: Releases, configured: ConfigFile
) -> None:
    newest = releases.environment.ledger.entries()[0]
    basis = {"entry": newest.n, "digest": newest.hash}
    configured.write(
        {"config": {"mlops-sdk:basis": basis, "mlops-sdk:live": releases.locks["v0.0.1"].digest}}
    )
    refuse_if_moved(provider)
    configured.write({"config": {"mlops-sdk:basis": basis}})
    with pytest.raises(MovedError, match="names no live release, but sha256"):
        refuse_if_moved(provider)


def test_a_config_is_refused_while_another_deployer_holds_the_lease(
    environment: Environment, provider: ProviderEnvironment, releases: Releases, configured: ConfigFile
) -> None:
    with (
        Lease.acquire(environment.conninfo(), "local", Holder.this_process("ada")),
        pytest.raises(LeaseHeldError, match="ada"),
    ):
        LiveHandler().check(provider, {})


def test_no_resource_is_changed_for_a_deployer_that_lost_its_lease(
    environment: Environment, provider: ProviderEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = Lease.acquire(environment.conninfo(), "local", Holder.this_process("ada"))
    monkeypatch.setenv("MLOPS_LEASE_EPOCH", str(late.token.epoch))
    refuse_if_late(provider)
    break_lease(environment.conninfo(), "local")
    with Lease.acquire(environment.conninfo(), "local", Holder.this_process("bob")) as newer:
        with pytest.raises(LeaseLostError, match="has run out or was taken over"):
            refuse_if_late(provider)
        monkeypatch.setenv("MLOPS_LEASE_EPOCH", str(newer.token.epoch))
        refuse_if_late(provider)
    late.release()
