"""What a person does wrong and what is broken around them: a clear error, the right exit code, nothing changed."""

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.clone import Clone

pytestmark = pytest.mark.timeout(200)

TEN_FAULTS = """\
schema: 2
release: 0.0.9
code: {reff: HEAD}
models:
  Embedder: {name: movie-embedder, version: 1}
  reranker: {name: movie-reranker, version: 1, alias: candidate}
  other: {name: movie-embedder, version: zero}
  none: {name: movie-embedder}
state: pipelines.recommender.tables
service: 7
parameters: [candidates]
images: {}
colour: red
"""


def ledger_head(clone: Clone) -> int:
    entries: list[dict[str, int]] = clone.json("history", "local", "--all", "--limit", "1")
    return entries[0]["n"] if entries else 0


def changed_manifest(clone: Clone, release: str, old: str, new: str) -> str:
    path = clone.manifest(release)
    file = clone.root / path
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    return path


def test_a_manifest_with_ten_faults_lists_all_of_them_with_their_lines(clone: Clone) -> None:
    path = clone.root / "stacks" / "releases" / "faulty.yaml"
    path.write_text(TEN_FAULTS)
    before = ledger_head(clone)
    try:
        done = clone.run("deploy", "stacks/releases/faulty.yaml", code=2)
    finally:
        path.unlink()

    for line in (1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12, 13):
        assert f"faulty.yaml:{line}: " in done.stderr
    assert "Traceback" not in done.stderr
    assert ledger_head(clone) == before


@pytest.mark.parametrize(
    ("old", "new", "code", "says"),
    [
        ("name: movie-embedder", "name: movie-embeder", 6, "movie-embedder"),
        ("name: movie-embedder, version: 1", "name: movie-embedder, version: 99", 6, "99"),
        ("name: movie-reranker, version: 1", "name: movie-reranker, alias: champion", 6, "champion"),
        ("ref: HEAD", "ref: no-such-branch", 6, "no-such-branch"),
        ("tables:STATE", "tables:NOTHING", 2, "NOTHING"),
    ],
    ids=["unknown model", "unknown version", "unknown alias", "unknown ref", "unknown state"],
)
def test_what_the_manifest_names_and_nobody_knows_is_named(
    clone: Clone, old: str, new: str, code: int, says: str
) -> None:
    before = ledger_head(clone)
    done = clone.run("deploy", changed_manifest(clone, "v0.0.8", old, new), code=code)

    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert not (clone.root / "stacks/releases/v0.0.8.lock.yaml").exists()
    assert ledger_head(clone) == before


def test_an_unreachable_mlflow_is_said_within_seconds(clone: Clone) -> None:
    done = clone.run(
        "lock", clone.manifest("v0.0.8"), code=1, timeout_s=30, MLFLOW_TRACKING_URI="http://127.0.0.1:9"
    )

    assert "127.0.0.1:9" in done.stderr
    assert "mlops up" in done.stderr


def test_a_wrong_password_is_an_error_of_its_own_and_is_not_shown(clone: Clone) -> None:
    url = clone.variables()["MLOPS_OPERATOR_URL"]
    wrong = url.replace(url.split(":")[2].split("@")[0], "not-the-password")
    done = clone.run("history", "local", code=3, MLOPS_OPERATOR_URL=wrong)

    assert "role sdk" in done.stderr
    assert "not-the-password" not in done.stderr


def test_an_environment_that_the_project_lacks_and_a_release_that_is_not_there(clone: Clone) -> None:
    assert "did you mean 'local'" in clone.run("status", "locale", code=6).stderr
    assert "v9.9.9" in clone.run("rollback", "local", "-m", "x", "--to", "v9.9.9", code=6).stderr
    assert "no-such-file.yaml" in clone.run("deploy", "no-such-file.yaml", code=6).stderr
    assert "address" in clone.run("at", "local@yesterday", code=2).stderr


def test_a_lock_whose_manifest_changed_is_refused(clone: Clone) -> None:
    path = changed_manifest(clone, "v0.0.7", "candidates: 200", "candidates: 100")
    clone.run("lock", path)
    file = clone.root / path
    file.write_text(file.read_text().replace("candidates: 100", "candidates: 150"))

    done = clone.run("deploy", path, code=2)

    assert "changed after" in done.stderr
    assert "--update" in done.stderr
    clone.run("lock", path, "--update")


def test_a_tag_that_is_in_the_ledger_cannot_be_locked_anew(clone: Clone) -> None:
    done = clone.run("lock", "stacks/releases/v0.0.1.yaml", "--update", code=5)

    assert "a release never changes" in done.stderr


def test_a_second_deployer_is_told_who_deploys(clone: Clone) -> None:
    from pydantic import SecretStr

    from mlops_sdk.ledger.lease import Holder, Lease

    conninfo = SecretStr(clone.variables()["MLOPS_OPERATOR_URL"])
    with Lease.acquire(conninfo, "local", Holder.this_process("ada")):
        done = clone.run("rollback", "local", "-m", "x", code=22)
        held = clone.json("lease", "show", "local")
        preview = clone.shell("pulumi preview -s local", fails=True)

    assert "ada on" in done.stderr
    assert "mlops lease break local" in done.stderr
    assert held["who"] == "ada"
    assert "ada on" in preview


@pytest.fixture
def postgres_stopped(clone: Clone) -> Iterator[None]:
    from mlops_sdk.platform.supervisor import Supervisor

    Supervisor(clone.folder).stop("postgres")
    yield
    clone.run("up", "local")


def test_a_refresh_while_postgres_is_down_is_an_error_and_forgets_nothing(
    clone: Clone, postgres_stopped: None
) -> None:
    before = clone.shell("pulumi stack export -s local").count('"urn"')
    out = clone.shell("pulumi refresh -s local --yes --skip-preview", fails=True)

    assert "mlops up" in out
    assert "Traceback" not in out
    assert clone.shell("pulumi stack export -s local").count('"urn"') == before
    assert "did not answer" in clone.run("history", "local", code=1).stderr


def test_a_refresh_notices_a_dead_process_a_changed_file_and_a_dropped_schema(clone: Clone) -> None:
    import psycopg

    from mlops_sdk.platform.supervisor import Supervisor

    status = clone.json("status", "local")
    spare = next(r for r in status["releases"] if r["slot"] == "kept")
    name = spare["digest"][7:19]
    Supervisor(clone.folder).stop(f"service-{name}")
    (clone.folder / "env" / f"release-{name}.env").write_text("MLOPS_RELEASE='forged'\n")
    with psycopg.connect(_superuser(clone), autocommit=True) as connection:
        connection.execute(f'ALTER SCHEMA "{spare["pg_schema"]}" RENAME TO hidden'.encode())

    out = clone.shell("pulumi refresh -s local --preview-only --diff")
    with psycopg.connect(_superuser(clone), autocommit=True) as connection:
        connection.execute(f'ALTER SCHEMA hidden RENAME TO "{spare["pg_schema"]}"'.encode())
    clone.run("up", "local")

    assert f"service-{name}" in out
    assert f"release-{name}-env" in out
    assert f"release-{name}-state" in out
    clone.shell("pulumi preview -s local --expect-no-changes")


def _superuser(clone: Clone) -> str:
    from psycopg.conninfo import conninfo_to_dict, make_conninfo

    from mlops_sdk.runtime import env_file

    operator = conninfo_to_dict(clone.variables()["MLOPS_OPERATOR_URL"])
    password = env_file.read(clone.folder / "env" / "postgres.env")["MLOPS_POSTGRES_PASSWORD"]
    return make_conninfo(**{**operator, "user": "postgres", "password": password})


def test_a_port_in_use_is_named_with_who_has_it(clone: Clone) -> None:
    from mlops_sdk.platform.supervisor import Supervisor

    port = int(clone.variables()["MLOPS_ROUTER_URL"].rsplit(":", 1)[1])
    Supervisor(clone.folder).stop("router")
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen()
        done = clone.run("up", "local", code=5)
    clone.run("up", "local")

    assert str(port) in done.stderr
    assert "Pulumi.local.yaml" in done.stderr or "router" in done.stderr


def test_secrets_are_in_no_state_no_argument_no_log_and_no_output(clone: Clone) -> None:
    variables = clone.variables()
    url = variables["MLOPS_OPERATOR_URL"]
    secrets = [variables["MLOPS_MASTER_KEY"], url.split(":")[2].split("@")[0]]
    places = {
        "state": clone.shell("pulumi stack export -s local"),
        "arguments": subprocess.run(
            ["ps", "axww", "-o", "args"], capture_output=True, text=True, check=True
        ).stdout,
        "status": clone.run("status", "local", "-o", "json").stdout,
        "config": (clone.root / "stacks" / "Pulumi.local.yaml").read_text(),
        "logs": "".join(_text(path) for path in (clone.folder / "logs").iterdir() if path.is_file()),
    }

    found = [name for name, text in places.items() for secret in secrets if secret in text]
    assert found == []
    for path in (clone.folder / "env").iterdir():
        assert path.stat().st_mode & 0o077 == 0, path


def _text(path: Path) -> str:
    return path.read_text(errors="replace")
