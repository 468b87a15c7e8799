"""What doctor says of facts that no test server shows: servers too old, too small, or without pgvector."""

from dataclasses import replace
from typing import Any

import pytest

from mlops_sdk.state.doctor import judge, seen
from mlops_sdk.state.facts import Facts, ForkFacts

SERVER = {"max_connections": "100", "superuser_reserved_connections": "3", "deadlock_timeout": "1000"}
FACTS = Facts("local", 180004, SERVER, "0.8.5", False, 2, 2, {}, {})


@pytest.mark.parametrize(
    ("change", "check", "words", "remedy"),
    [
        ({"control_version": 1}, "control tables", "version 1, this SDK needs 2", "`mlops up local`"),
        ({"control_version": 3}, "control tables", "version 3, this SDK knows up to 2", "newer SDK"),
        ({"server_version": 140011}, "server", "Postgres 14 is too old", "use 15 or later"),
        ({"vector": None, "needs_vector": True}, "server", "no pgvector", "privileges.md"),
        (
            {"settings": {**SERVER, "deadlock_timeout": "300"}},
            "server",
            "deadlock_timeout is 300 ms",
            "above 300",
        ),
        (
            {"releases": {f"v0.0.{n}": f"rel_{n}" for n in range(21)}},
            "server",
            "max_connections leaves 97; 21 releases and the SDK may need 99",
            "raise max_connections",
        ),
        (
            {"missing_forks": ("rel_1.users",)},
            "every kept fork is guarded",
            "rel_1.users is recorded",
            "backup",
        ),
    ],
)
def test_what_is_wrong_is_named_with_a_remedy(
    change: dict[str, Any], check: str, words: str, remedy: str
) -> None:
    findings = judge(replace(FACTS, **change))[check]
    assert any(words in one.what and remedy in one.remedy for one in findings), findings


def test_what_holds_says_what_was_looked_at() -> None:
    facts = replace(FACTS, forks=(fork("following"), fork("stale")))
    assert seen(facts, "server") == "Postgres 18.4, pgvector 0.8.5"
    assert seen(facts, "forks follow") == "2 forks, 1 stale"
    assert judge(facts)["forks follow"] == []


def fork(state: str) -> ForkFacts:
    return ForkFacts(
        id=1,
        release="v0.0.1",
        pg_schema="rel_1",
        table="users",
        role="rel_1",
        state=state,
        is_cut=True,
        is_written=False,
        pending=0,
        guarded=True,
        autovacuum_off=False,
        triggers={},
        grants=frozenset(),
    )
