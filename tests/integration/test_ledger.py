"""The ledger in a real Postgres: what it refuses, and what it answers."""

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr

from mlops_sdk.errors import AuthError, NotFoundError, PolicyError, UnreachableError
from mlops_sdk.ledger import install as installer
from mlops_sdk.ledger.address import parse
from mlops_sdk.ledger.database import connect, control_transaction
from mlops_sdk.ledger.entries import Pointer
from mlops_sdk.ledger.named import named_digest
from mlops_sdk.ledger.store import Ledger, append
from mlops_sdk.runtime.passwords import derive
from tests.support.environment import MASTER_KEY, Environment
from tests.support.locks import make_lock


def bind(ledger: Ledger, release: str, app: str, **fields: Any) -> str:
    lock = make_lock(release, app=app, **fields)
    ledger.bind(lock, watermarks={}, fingerprints={}, service_port=4000, lease=None)
    return lock.digest


def make_live(environment: Environment, digest: str, **details: Any) -> None:
    ledger = environment.ledger
    with ledger.connect() as conn, control_transaction(conn, None):
        epoch = ledger.pointer().epoch + 1
        entry = append(conn, environment.name, "live", digest, details=details, epoch=epoch)
        conn.execute(
            "UPDATE mlops.pointer SET digest = %s, epoch = %s, entry = %s WHERE env = %s",
            [digest, epoch, entry.n, environment.name],
        )


def test_installing_again_changes_nothing(environment: Environment) -> None:
    environment.ledger.record("note", lease=None, reason="kept")
    passwords = {role: derive(MASTER_KEY, role) for role in installer.LOGIN_ROLES}
    installer.install(environment.admin, environment.database.name, passwords, environment="local")
    assert environment.ledger.verify() == 1
    assert installer.check(environment.conninfo()) == installer.SCHEMA_VERSION


def test_a_new_environment_has_nothing_live(environment: Environment) -> None:
    assert environment.ledger.pointer() == Pointer(None, 0, None)
    assert environment.ledger.head() is None
    assert environment.ledger.hold() is None


def test_entries_form_a_chain(environment: Environment) -> None:
    for number in range(5):
        environment.ledger.record("note", lease=None, reason=str(number), actor="ann", details={"n": number})
    found = environment.ledger.entries()
    assert [entry.reason for entry in found] == ["4", "3", "2", "1", "0"]
    assert environment.ledger.verify() == 5
    assert all(later.at > earlier.at for later, earlier in pairwise(found))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE mlops.entry SET kind = 'note'",
        "DELETE FROM mlops.entry",
        "TRUNCATE mlops.entry CASCADE",
        "DROP TABLE mlops.entry CASCADE",
        "UPDATE mlops.binding SET pg_schema = 'x'",
        "UPDATE mlops.lock SET body = ''",
    ],
)
def test_whoever_deploys_cannot_change_what_was_written(environment: Environment, statement: str) -> None:
    environment.ledger.record("note", lease=None)
    with environment.ledger.connect() as conn, pytest.raises(psycopg.errors.InsufficientPrivilege):
        conn.execute(statement.encode())


@pytest.mark.parametrize(
    ("columns", "constraint"),
    [
        ({"n": 5}, "entry_env_prev_prev_hash_fkey"),  # a gap
        ({"n": 1, "prev_hash": None}, "entry_pkey"),  # a second first entry
        ({"prev_hash": "sha256:" + "0" * 64}, "entry_env_prev_prev_hash_fkey"),  # a wrong hash
        ({"hash": "sha256:" + "0" * 64}, "hash_is_of_body"),
        ({"kind": "retired"}, "columns_agree_with_body"),
    ],
)
def test_postgres_refuses_a_wrong_entry(
    environment: Environment, columns: dict[str, Any], constraint: str
) -> None:
    ledger = environment.ledger
    ledger.record("note", lease=None)
    good = ledger.record("note", lease=None)
    in_body = {name: value for name, value in columns.items() if name in ("n", "prev_hash")}
    entry = replace(good, **{"n": 3, "prev_hash": good.hash, **in_body})
    row = {
        "env": "local",
        "n": entry.n,
        "prev_hash": entry.prev_hash,
        "hash": entry.hash,
        "at": entry.at,
        "kind": entry.kind,
        "body": entry.body,
        **columns,
    }
    with ledger.connect() as conn, pytest.raises(psycopg.errors.IntegrityError) as refused:
        conn.execute(
            f"INSERT INTO mlops.entry ({', '.join(row)}) VALUES ({', '.join(['%s'] * len(row))})".encode(),
            list(row.values()),
        )
    assert refused.value.diag.constraint_name == constraint


def test_one_environment_has_one_pointer(environment: Environment) -> None:
    with environment.ledger.connect() as conn, pytest.raises(psycopg.errors.UniqueViolation):
        conn.execute("INSERT INTO mlops.pointer (env) VALUES ('local')")


def test_the_pointer_moves_only_with_an_entry_of_its_release(environment: Environment) -> None:
    digest = bind(environment.ledger, "v0.0.1", environment.app)
    entry = environment.ledger.record("note", lease=None)
    with environment.ledger.connect() as conn, pytest.raises(psycopg.errors.ForeignKeyViolation):
        conn.execute("UPDATE mlops.pointer SET digest = %s, epoch = 1, entry = %s", [digest, entry.n])


def test_a_release_is_bound_once(environment: Environment) -> None:
    ledger = environment.ledger
    lock = make_lock(app=environment.app)
    first = ledger.bind(lock, watermarks={"t.s": "7"}, fingerprints={"t": "f"}, service_port=1, lease=None)
    again = ledger.bind(lock, watermarks={"t.s": "8"}, fingerprints={"t": "g"}, service_port=2, lease=None)
    assert again == first == ledger.binding(lock.digest)
    assert first.pg_schema.startswith(f"rel_{environment.app[:20]}_000001_")
    assert ledger.lock(lock.digest) == lock
    assert [entry.kind for entry in ledger.entries()] == ["bound"]


def test_a_tag_is_bound_with_one_digest(environment: Environment) -> None:
    bind(environment.ledger, "v0.0.1", environment.app)
    with pytest.raises(PolicyError, match="give the new combination a tag of its own"):
        bind(environment.ledger, "v0.0.1", environment.app, service="a.b:c")


def test_history_answers_what_was_live_at_a_moment(environment: Environment) -> None:
    ledger = environment.ledger
    a, b = (bind(ledger, tag, environment.app) for tag in ("v0.0.1", "v0.0.2"))
    before = datetime.now(UTC)
    for digest in (a, b, a):
        make_live(environment, digest)

    def live(text: str) -> str | None:
        entry = ledger.resolve(parse(text, now=datetime.now(UTC)))
        return entry.digest if entry else None

    assert [live("local"), live("local~1"), live("local~2"), live("local#4")] == [a, b, a, b]
    assert live("local@{1.hour.ago}") is None
    first, second, _ = reversed([entry for entry in ledger.entries() if entry.kind == "live"])
    assert ledger.at(second.at - timedelta(microseconds=1)) == first
    assert ledger.at(before) is None
    with pytest.raises(NotFoundError, match="no live release 9 changes ago"):
        live("local~9")
    with pytest.raises(NotFoundError, match="no entry 99"):
        live("local#99")


def test_a_name_means_a_release_of_this_environment_or_none(environment: Environment) -> None:
    ledger = environment.ledger
    a, b = (bind(ledger, tag, environment.app) for tag in ("v0.0.1", "v0.0.2"))
    make_live(environment, a)
    make_live(environment, b)
    for name in ("v0.0.1", a, a.removeprefix("sha256:")[:12], "local~1"):
        assert named_digest(ledger, name) == a
    for name in ("", a[7:8], a[7:14], "v0.0.9", "v9", "prd", "prd~1", "prd@{1.minute.ago}"):
        with pytest.raises(NotFoundError, match=f"local has no release '{re.escape(name)}'"):
            named_digest(ledger, name)


def test_the_default_of_a_rollback_is_the_last_verified_release(environment: Environment) -> None:
    ledger = environment.ledger
    a, b, c = (bind(ledger, f"v0.0.{n}", environment.app) for n in (1, 2, 3))
    for digest, verified in ((a, True), (b, False), (c, True)):
        if verified:
            ledger.record("verified", lease=None, digest=digest)
        make_live(environment, digest)
    assert ledger.last_verified_before(c) == a
    make_live(environment, a, rollback_of=c)
    assert ledger.last_verified_before(a) is None


def test_a_hold_stands_until_it_is_ended(environment: Environment) -> None:
    ledger = environment.ledger
    ledger.set_hold(True, lease=None, actor="ann", reason="rolled back")
    assert ledger.set_hold(True, lease=None, actor="bob", reason="again") is None
    hold = ledger.hold()
    assert hold is not None
    assert (hold.actor, hold.reason) == ("ann", "rolled back")
    ledger.set_hold(False, lease=None, actor="bob", reason="fine now")
    assert ledger.hold() is None


def test_a_wrong_password_is_an_error_of_authentication(environment: Environment) -> None:
    wrong = SecretStr(environment.database.conninfo(user="sdk", password="wrong-one"))
    with pytest.raises(AuthError) as refused:
        connect(wrong)
    assert "wrong-one" not in str(refused.value)


def test_a_server_that_does_not_answer_is_unreachable() -> None:
    with pytest.raises(UnreachableError, match="did not answer"):
        connect(SecretStr("host=127.0.0.1 port=1 dbname=x user=sdk password=secret"))


def test_the_ledger_of_another_environment_is_not_found(environment: Environment) -> None:
    with pytest.raises(NotFoundError, match="no environment prd"):
        Ledger(environment.conninfo(), "prd").pointer()


def test_many_questions_can_share_one_connection_in_one_thread(environment: Environment) -> None:
    ledger = environment.ledger

    def process() -> int:
        with ledger.connect() as conn:
            return conn.info.backend_pid

    with ledger.one_connection(), ledger.one_connection():
        first = process()
        assert ledger.pointer() == Pointer(None, 0, None)
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(process).result() != first
        assert process() == first
    assert process() != first
