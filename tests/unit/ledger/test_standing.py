"""Whether a release is verified and whether it is blocked: the newest entry decides."""

from dataclasses import replace

import pytest

from mlops_sdk.ledger.standing import checks_of, standing
from tests.unit.ledger.test_entries import chain


@pytest.mark.parametrize(
    ("kinds", "verified", "blocked"),
    [
        ([], None, None),
        (["bound"], None, None),
        (["verified", "live", "done"], 1, None),
        (["verified", "withdrawn"], None, None),
        (["verified", "failed"], None, None),
        (["verified", "turned_back"], None, None),
        (["verified", "withdrawn", "verified"], 3, None),
        (["failed", "verified"], 2, None),
        (["verified", "block"], 1, 2),
        (["block", "verified"], 2, 1),
        (["block", "unblock"], None, None),
        (["block", "unblock", "block"], None, 3),
    ],
)
def test_the_newest_entry_of_each_kind_decides(
    kinds: list[str], verified: int | None, blocked: int | None
) -> None:
    found = standing(reversed(chain(*((kind, "a", None) for kind in kinds))))
    assert (found.verified.n if found.verified else None) == verified
    assert (found.block.n if found.block else None) == blocked


def test_checks_are_read_in_both_forms_that_were_ever_written() -> None:
    (entry,) = chain(("verified", "a", None))
    names = replace(entry, details={"checks": ["ready", "digest"]})
    objects = replace(
        entry, details={"checks": [{"name": "ready", "ok": True, "detail": "HTTP 200", "more": 1}]}
    )
    assert checks_of(names) == [
        {"name": "ready", "ok": True, "detail": ""},
        {"name": "digest", "ok": True, "detail": ""},
    ]
    assert checks_of(objects) == [{"name": "ready", "ok": True, "detail": "HTTP 200"}]
    assert checks_of(entry) == []
