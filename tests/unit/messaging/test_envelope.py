"""The wire form of a message."""

from datetime import date
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mlops_sdk.messaging.envelope import MAX_BYTES, Envelope, MalformedError, decode, encode

TEXT = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=20)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)
ENVELOPES = st.builds(
    Envelope,
    id=st.uuids(),
    kind=st.from_regex(r"[a-z][a-z0-9_.-]{0,20}", fullmatch=True),
    run_date=st.none() | st.dates(),
    payload=st.dictionaries(TEXT, JSON, max_size=4),
    release=st.none() | st.just("v0.0.1"),
    attempt=st.integers(1, 100),
    ordering_key=st.none() | st.from_regex(r"[!-~]{1,30}", fullmatch=True),
)


@given(ENVELOPES)
def test_what_is_written_is_read_back_without_loss(message: Envelope) -> None:
    assert decode(encode(message), attempt=message.attempt) == message


@given(st.binary(max_size=200) | JSON.map(lambda value: repr(value).encode("utf-8", "replace")))
def test_whatever_arrives_is_a_message_or_malformed(body: bytes) -> None:
    try:
        decode(body, attempt=1)
    except MalformedError as error:
        assert error.what.startswith(("malformed: ", "oversized: "))


def test_the_wire_form_is_the_documented_one() -> None:
    message = Envelope(
        id=UUID(int=7),
        kind="rfm",
        run_date=date(2026, 1, 31),
        payload={"a": 1},
        release="v0.0.1",
        trace="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ordering_key="k",
    )
    assert encode(message) == (
        b'{"schema":1,"id":"00000000-0000-0000-0000-000000000007","kind":"rfm","run_date":"2026-01-31",'
        b'"payload":{"a":1},"release":"v0.0.1",'
        b'"trace":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01","ordering_key":"k"}'
    )


def test_an_error_quotes_nothing_of_the_message() -> None:
    body = encode(Envelope(kind="rfm", payload={"a": 1})).replace(b'"rfm"', b'"SECRET WORD"')
    with pytest.raises(MalformedError) as error:
        decode(body, attempt=1)
    assert "SECRET" not in str(error.value)


@pytest.mark.parametrize(
    "field",
    [
        {"kind": ""},
        {"kind": "a b"},
        {"kind": "A"},
        {"kind": "a\n"},
        {"trace": "00-1"},
        {"ordering_key": "a b"},
    ],
)
def test_a_wrong_field_is_refused(field: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        Envelope(**({"kind": "rfm"} | field))  # type: ignore[arg-type]


def test_the_limit_of_size_is_exact() -> None:
    empty = len(encode(Envelope(kind="rfm", payload={"a": ""})))
    fits = Envelope(kind="rfm", payload={"a": "x" * (MAX_BYTES - empty)})
    assert len(encode(fits)) == MAX_BYTES
    assert decode(encode(fits), attempt=1) == fits
