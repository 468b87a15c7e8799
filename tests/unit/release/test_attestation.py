"""Attestations: read back as written, and refused when edited."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_sdk.errors import InputError
from mlops_sdk.release.attestation import (
    Attestation,
    AttestedCheck,
    format_attestation,
    parse_attestation,
)

DIGEST = st.from_regex(r"sha256:[0-9a-f]{64}", fullmatch=True)
TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
CHECKS = st.lists(st.builds(AttestedCheck, name=TEXT, ok=st.booleans(), detail=TEXT), max_size=3).map(tuple)
ATTESTATIONS = st.builds(
    Attestation,
    schema=st.just(1),
    digest=DIGEST,
    release=TEXT,
    app=TEXT,
    environment=TEXT,
    entry=st.integers(min_value=1),
    at=st.datetimes(timezones=st.just(UTC)),
    head=st.builds("{}:{}".format, st.integers(min_value=1), DIGEST),
    checks=CHECKS,
)
ONE = Attestation(
    schema=1,
    digest="sha256:" + "a" * 64,
    release="v0.0.1",
    app="shop",
    environment="stg",
    entry=7,
    at=datetime(2026, 1, 1, tzinfo=UTC),
    head="9:sha256:" + "b" * 64,
    checks=(AttestedCheck(name="ready", ok=True, detail="HTTP 200"),),
)


@given(ATTESTATIONS)
def test_an_attestation_reads_back_as_what_was_written(attestation: Attestation) -> None:
    text = format_attestation(attestation)
    assert parse_attestation(text) == attestation
    assert format_attestation(parse_attestation(text)) == text


def test_a_file_has_the_digest_of_everything_else_in_it() -> None:
    document = json.loads(format_attestation(ONE))
    assert document.pop("attestation") == ONE.document_digest()
    assert Attestation.from_document(document) == ONE


def edited(**changes: Any) -> str:
    return json.dumps({**json.loads(format_attestation(ONE)), **changes})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (edited(environment="prd"), "the attestation was edited: its content has digest"),
        (edited(entry=8), "was edited"),
        (edited(checks=[]), "was edited"),
        (edited(at="2026-01-02T00:00:00Z"), "was edited"),
        (edited(attestation=None), "was edited"),
        (edited(schema=2), "an attestation of schema 2; this version reads schema 1"),
        (edited(note="x"), r"not an attestation\n  note: Extra inputs"),
        (edited(entry=0), r"not an attestation\n  entry: "),
        (edited(entry="7"), r"not an attestation\n  entry: "),
        (edited(head="9:abc"), r"not an attestation\n  head: "),
        (edited(at="2026-01-01T00:00:00"), r"not an attestation\n  at: "),
        (edited(entry=float("nan")), "not an attestation"),
        ("{", "not an attestation"),
        ("[]", "an object is wanted"),
        ("{}", "schema None"),
    ],
)
def test_what_was_edited_or_is_none_is_refused_by_name_of_file(text: str, says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        parse_attestation(text, where="stg.json")
    assert caught.value.where == "stg.json"
    assert caught.value.remedy
