"""What speaks for a release: the source's ledger, an attestation's file, blocks, and the target's registry."""

import json
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest
from pydantic import SecretStr

from mlops_sdk.errors import InputError, NotFoundError, PolicyError
from mlops_sdk.ledger.store import Ledger
from mlops_sdk.release.lock import Lock, LockedModel
from mlops_sdk.release.lock_file import write_lock
from mlops_sdk.release.project import Project
from mlops_sdk.rollout.deploy.deploy import deploy
from mlops_sdk.rollout.deploy.planning import plan_deploy
from mlops_sdk.rollout.environment.opening import open_session
from mlops_sdk.rollout.environment.session import Session
from mlops_sdk.rollout.locking.lock import lock_manifest
from mlops_sdk.rollout.promote.attest import attest, read_attestation, write_attestation
from mlops_sdk.rollout.promote.blocks import block, unblock
from mlops_sdk.rollout.promote.promote import check_models, find_candidate, promote
from mlops_sdk.runtime.settings import EnvironmentSettings, OperatorSettings
from mlops_sdk.state import Forked, State
from tests.support.environment import MASTER_KEY, Environment
from tests.support.locks import make_lock
from tests.support.mlflow_server import MlflowServer
from tests.support.releases import Releases
from tests.support.tables import metadata, users

NOWHERE = SecretStr("postgresql://sdk:not-a-password@127.0.0.1:9/none")
CHECKS = [{"name": "ready", "ok": True, "detail": "HTTP 200"}]


@dataclass(frozen=True)
class Source:
    """A project whose first environment, `local`, has v0.0.1 live and v0.0.2 bound."""

    project: Project
    ledger: Ledger
    first: Lock
    second: Lock

    def record(self, kind: Any, lock: Lock, **fields: Any) -> int:
        return self.ledger.record(kind, lease=None, digest=lock.digest, **fields).n

    def moved_to(self, url: SecretStr) -> None:
        """Write the files that say where its Postgres is."""
        folder = self.project.environment_folder("local")
        OperatorSettings(operator_url=url, master_key=MASTER_KEY, source_owner_url=url).write(
            folder / "env" / "operator.env"
        )


@pytest.fixture
def source(environment: Environment, tmp_path: Path) -> Source:
    releases = Releases(environment, tmp_path)
    state = State(Forked(users(metadata())))
    first, second = releases.lock("v0.0.1", state), releases.lock("v0.0.2", state)
    releases.deploy("v0.0.1")
    releases.bind("v0.0.2")
    project = Project(root=tmp_path, app=environment.app, environments=("local", "prd"))
    found = Source(project, environment.ledger, first, second)
    folder = project.environment_folder("local") / "env"
    folder.mkdir(parents=True)
    found.moved_to(environment.conninfo())
    EnvironmentSettings(
        environment="local",
        kind="local",
        app=environment.app,
        project_root=tmp_path,
        mlflow_tracking_uri="http://127.0.0.1:9",
        prefect_api_url="http://127.0.0.1:9/api",
        database_host="127.0.0.1",
        database_port=9,
        database_name=environment.app,
        source_url=NOWHERE,
        router_url="http://127.0.0.1:9",
        model_cache=tmp_path / "models",
    ).write(folder / "environment.env")
    return found


def test_a_ledger_attests_of_the_release_that_it_verified_with_its_checks_and_its_head(
    source: Source,
) -> None:
    n = source.record("verified", source.first, details={"checks": CHECKS})
    head = source.ledger.record("note", lease=None)

    found = attest(source.project, "local")

    assert (found.release, found.digest, found.entry) == ("v0.0.1", source.first.digest, n)
    assert (found.app, found.environment) == (source.project.app, "local")
    assert found.head == f"{head.n}:{head.hash}"
    assert [check.document() for check in found.checks] == CHECKS
    assert attest(source.project, "local", "v0.0.1") == found


def test_nothing_is_attested_of_what_was_never_verified_or_was_taken_back(source: Source) -> None:
    with pytest.raises(PolicyError, match=r"local never verified v0\.0\.2"):
        attest(source.project, "local", "v0.0.2")
    source.record("verified", source.first)
    source.record("withdrawn", source.first, reason="drift of 0.4")
    with pytest.raises(PolicyError, match=r"took its verification back since .* drift of 0\.4"):
        attest(source.project, "local", "v0.0.1")
    with pytest.raises(NotFoundError, match=r"has no release 'v9\.9\.9'"):
        attest(source.project, "local", "v9.9.9")


def test_the_live_release_of_the_source_is_promoted_by_default_with_its_ledgers_word(source: Source) -> None:
    source.record("verified", source.first)
    source.record("verified", source.second)

    live = find_candidate(source.project, "local", "", None)
    named = find_candidate(source.project, "local", "v0.0.2", None)

    assert (live.lock, live.evidence().digest) == (source.first, source.first.digest)
    assert (named.lock, named.evidence().digest) == (source.second, source.second.digest)


def test_a_candidate_that_nothing_speaks_for_is_known_and_refused_when_it_is_asked(source: Source) -> None:
    candidate = find_candidate(source.project, "local", "", None)
    assert candidate.lock == source.first
    with pytest.raises(PolicyError, match="never verified"):
        candidate.evidence()


def test_an_attestation_speaks_for_a_source_that_cannot_be_reached(source: Source, tmp_path: Path) -> None:
    source.record("verified", source.first, details={"checks": CHECKS})
    file = tmp_path / "v0.0.1.json"
    write_attestation(file, attest(source.project, "local"))
    write_lock(tmp_path / "stacks" / "releases" / "v0.0.1.lock.yaml", source.first)
    source.moved_to(NOWHERE)
    said: list[Any] = []

    candidate = find_candidate(source.project, "local", "", file, said.append)

    assert (candidate.lock, candidate.evidence()) == (source.first, read_attestation(file))
    assert "local cannot be asked" in said[0].text
    with pytest.raises(PolicyError, match=r"the attestation is of v0\.0\.1, not v0\.0\.2"):
        find_candidate(source.project, "local", "v0.0.2", file)
    with pytest.raises(PolicyError, match="nothing attests that local verified it: Postgres did not answer"):
        find_candidate(source.project, "local", "", None)
    write_lock(
        tmp_path / "stacks" / "releases" / "v0.0.1.lock.yaml", make_lock("v0.0.1", parameters={"n": 2})
    )
    with pytest.raises(PolicyError, match="same digest, same lock"):
        find_candidate(source.project, "local", "", file)


def test_a_source_that_answers_is_asked_whether_its_attestation_still_holds(
    source: Source, tmp_path: Path
) -> None:
    source.record("verified", source.first)
    file = tmp_path / "v0.0.1.json"
    given = attest(source.project, "local")
    write_attestation(file, given)
    assert find_candidate(source.project, "local", "", file).evidence() == given

    source.record("withdrawn", source.first)
    with pytest.raises(PolicyError, match="took its verification back"):
        find_candidate(source.project, "local", "", file).evidence()


def test_an_attestation_of_another_ledger_release_or_app_is_refused(source: Source, tmp_path: Path) -> None:
    source.record("verified", source.first)
    given = attest(source.project, "local")
    file = tmp_path / "a.json"

    for changes, says in (
        ({"head": "1:sha256:" + "9" * 64}, "has no entry 1:sha256:9"),
        ({"head": "999:sha256:" + "9" * 64}, "has no entry 999:sha256:9"),
        ({"environment": "prd"}, "of environment prd, not local"),
        ({"app": "other"}, "of app other"),
    ):
        write_attestation(file, given.model_copy(update=changes))
        with pytest.raises(PolicyError, match=says):
            find_candidate(source.project, "local", "", file)
    write_attestation(file, given)
    with pytest.raises(PolicyError, match=r"the attestation is of v0\.0\.1 .* the lock of v0\.0\.2"):
        find_candidate(source.project, "local", "v0.0.2", file)
    file.write_text(json.dumps({**json.loads(file.read_text()), "entry": 99}))
    with pytest.raises(InputError, match="was edited"):
        find_candidate(source.project, "local", "", file)
    with pytest.raises(NotFoundError, match="no such attestation"):
        find_candidate(source.project, "local", "", tmp_path / "none.json")


def test_a_promotion_against_the_order_is_refused_before_anybody_is_asked(source: Source) -> None:
    with pytest.raises(PolicyError, match="the order is local -> prd"):
        promote(source.project, "prd", "local")
    with pytest.raises(NotFoundError, match="no environment 'stg'"):
        promote(source.project, "local", "stg")


def test_a_block_stands_until_it_is_ended_and_is_written_once(source: Source, tmp_path: Path) -> None:
    source.record("verified", source.first)

    made = block(source.project, "local", "v0.0.1", reason="leaks memory")
    again = block(source.project, "local", source.first.digest, reason="another reason")

    assert (made["changed"], made["live"], made["digest"]) == (True, True, source.first.digest)
    assert (again["changed"], again["reason"]) == (False, "leaks memory")
    with pytest.raises(PolicyError, match=r"v0\.0\.1 is blocked in local: leaks memory"):
        attest(source.project, "local")
    assert unblock(source.project, "local", "v0.0.1", reason="mended")["ended"] == "leaks memory"
    assert unblock(source.project, "local", "v0.0.1")["ended"] is None
    assert attest(source.project, "local").release == "v0.0.1"
    kinds = [entry.kind for entry in source.ledger.about(source.first.digest)]
    assert (kinds.count("block"), kinds.count("unblock")) == (1, 1)
    with pytest.raises(InputError, match="a block needs a reason"):
        block(source.project, "local", "v0.0.1", reason=" ")


def test_a_release_that_was_never_here_is_blocked_by_the_file_of_its_lock(
    source: Source, tmp_path: Path
) -> None:
    path = tmp_path / "v0.0.3.lock.yaml"
    lock = make_lock("v0.0.3")
    write_lock(path, lock)

    block(source.project, "local", str(path), reason="its data were wrong")

    (entry,) = source.ledger.about(lock.digest)
    assert (entry.kind, entry.details["release"]) == ("block", "v0.0.3")


def test_a_rollback_passes_over_a_blocked_release(environment: Environment, tmp_path: Path) -> None:
    releases = Releases(environment, tmp_path)
    for tag in ("v0.0.1", "v0.0.2", "v0.0.3"):
        lock = releases.lock(tag, State(Forked(users(metadata()))))
        releases.deploy(tag)
        environment.ledger.record("verified", lease=None, digest=lock.digest)
    live, second = releases.locks["v0.0.3"].digest, releases.locks["v0.0.2"].digest
    assert environment.ledger.last_verified_before(live) == second

    environment.ledger.record("block", lease=None, digest=second, reason="leaks")

    assert environment.ledger.last_verified_before(live) == releases.locks["v0.0.1"].digest


def registered(server: MlflowServer, name: str, content: str) -> int:
    """Register a version whose artifact is one MLmodel file, by MLflow's REST API; return its number."""
    with httpx.Client(base_url=f"{server.uri}/api/2.0", trust_env=False) as http:

        def post(path: str, **body: str) -> Any:
            answer = http.post(f"/mlflow/{path}", json=body)
            assert answer.is_success, answer.text
            return answer.json()

        post("registered-models/create", name=name)
        run = post("runs/create", experiment_id="0")["run"]["info"]
        path = f"{run['artifact_uri'].removeprefix('mlflow-artifacts:/')}/model"
        http.put(f"/mlflow-artifacts/artifacts/{path}/MLmodel", content=content.encode()).raise_for_status()
        source = f"mlflow-artifacts:/{path}"
        found = post("model-versions/create", name=name, source=source, run_id=run["run_id"])
        return int(found["model_version"]["version"])


def test_a_model_of_the_targets_registry_must_be_the_one_that_was_locked(
    mlflow_server: MlflowServer, tmp_path: Path
) -> None:
    from mlops_sdk.registry.client import Registry

    version = registered(mlflow_server, "promoted", "flavors: {}\n")
    digest = Registry(mlflow_server.uri).fetch("promoted", version, tmp_path / "first").digest
    settings = SimpleNamespace(mlflow_tracking_uri=mlflow_server.uri, model_cache=tmp_path / "second")
    said: list[Any] = []
    session = cast(Session, SimpleNamespace(environment="prd", settings=settings, report=said.append))

    def lock_of(**fields: Any) -> Lock:
        model = LockedModel(**{"name": "promoted", "version": version, "digest": digest, **fields})
        return make_lock(models={"ranker": model})

    check_models(session, lock_of())
    assert said[0].text == f"model ranker = promoted version {version}, as locked"
    with pytest.raises(
        PolicyError, match=f"promoted version {version} has digest {digest}, locked was sha256:0"
    ):
        check_models(session, lock_of(digest="sha256:" + "0" * 64))
    with pytest.raises(PolicyError, match="the registry of prd has no promoted version 99"):
        check_models(session, lock_of(version=99))
    with pytest.raises(PolicyError, match="the registry of prd has no other version"):
        check_models(session, lock_of(name="other"))


def test_a_lock_is_made_again_only_while_no_environment_of_this_machine_knows_its_tag(
    source: Source, tmp_path: Path
) -> None:
    manifest = tmp_path / "stacks" / "releases" / "v0.0.1.yaml"
    manifest.parent.mkdir(parents=True)
    manifest.write_text("schema: 1\nrelease: v0.0.1\ncode: {ref: HEAD}\n")
    write_lock(manifest.with_name("v0.0.1.lock.yaml"), source.first)

    with pytest.raises(PolicyError, match=r"v0\.0\.1 is in the ledger of local"):
        lock_manifest(source.project, "prd", manifest, update=True)


def test_a_shell_with_the_variables_of_another_environment_opens_none(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLOPS_ENVIRONMENT", "prd")
    with (
        pytest.raises(InputError, match="MLOPS_ENVIRONMENT of this shell is prd"),
        open_session(source.project, "local"),
    ):
        pass


def test_a_candidate_is_not_deployed_to_production_by_hand_either(source: Source, tmp_path: Path) -> None:
    manifest = tmp_path / "v0.0.4-rc1.yaml"
    manifest.write_text("schema: 1\nrelease: v0.0.4-rc1\ncode: {ref: HEAD}\n")

    for command in (plan_deploy, deploy):
        with pytest.raises(PolicyError, match=r"v0\.0\.4-rc1 is a candidate, and none goes to prd"):
            command(source.project, "prd", manifest)
    assert not (tmp_path / "v0.0.4-rc1.lock.yaml").exists()
