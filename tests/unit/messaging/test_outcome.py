"""What becomes of a message, whatever its handler does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_sdk.messaging import Delivery, Envelope, RefusedError, RetryPolicy
from mlops_sdk.messaging.envelope import encode
from mlops_sdk.messaging.outcome import DONE, MAX_CAUSE_BYTES, Outcome, cut, handle

POLICY = RetryPolicy(max_attempts=2)


def delivery(attempt: int = 1, body: bytes | None = None) -> Delivery:
    return Delivery("1", "1", encode(Envelope(kind="rfm")) if body is None else body, None, attempt)


def raises(error: BaseException) -> object:
    def handler(message: Envelope) -> None:
        raise error

    return handler


def test_a_handler_that_returns_is_done_whatever_it_returns() -> None:
    assert handle(delivery(), lambda message: message.attempt, POLICY) == DONE


def test_a_failure_is_tried_again_until_the_last_attempt() -> None:
    handler = {"rfm": raises(ValueError("away"))}
    assert handle(delivery(1), handler, POLICY).verdict == "retry"  # type: ignore[arg-type]
    assert handle(delivery(2), handler, POLICY).verdict == "bury"  # type: ignore[arg-type]


def test_what_was_delivered_too_often_is_not_handled_again() -> None:
    assert handle(delivery(3), raises(AssertionError("handled")), POLICY).cause.startswith(
        "delivered 2 times"
    )  # type: ignore[arg-type]


def test_a_refusal_is_final_and_says_what_and_what_to_do() -> None:
    refused = raises(RefusedError("no such job", where="job rfn", remedy="jobs: rfm"))
    assert handle(delivery(), refused, POLICY) == Outcome("bury", "refused: job rfn: no such job jobs: rfm")  # type: ignore[arg-type]


def test_an_error_that_cannot_say_what_it_is_is_an_outcome() -> None:
    class SilentError(Exception):
        def __str__(self) -> str:
            raise ValueError

    outcome = handle(delivery(), raises(SilentError()), POLICY)  # type: ignore[arg-type]
    assert outcome.cause.startswith("SilentError: (its text cannot be had) (test_outcome.py:")


def test_a_person_may_stop_the_process() -> None:
    with pytest.raises(KeyboardInterrupt):
        handle(delivery(), raises(KeyboardInterrupt()), POLICY)  # type: ignore[arg-type]


@given(st.text())
def test_a_cause_fits_every_transport(text: str) -> None:
    kept = cut(text * 50)
    assert len(kept.encode()) <= MAX_CAUSE_BYTES
    assert "\x00" not in kept
    assert "\n" not in kept
