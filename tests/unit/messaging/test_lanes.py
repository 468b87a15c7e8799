"""Ordering keys where the server hands out several messages of one key at once, as Pub/Sub itself does."""

from mlops_sdk.messaging.lanes import Lanes
from mlops_sdk.messaging.transport import Delivery


def message(name: str, again: str = "first") -> Delivery:
    """`a1` is the first message of key `a`; a name with a digit first has no key."""
    return Delivery(name, again, b"", name[0] if name[0].isalpha() else None, 1)


def test_only_the_oldest_of_a_key_may_be_handled() -> None:
    lanes = Lanes()
    assert lanes.admit([message(m) for m in ("a1", "a2", "b1", "1", "2", "a3")]) == [
        message(m) for m in ("a1", "b1", "1", "2")
    ]
    assert lanes.behind() == [message("a2"), message("a3")]


def test_what_is_settled_lets_the_next_of_its_key_go() -> None:
    lanes = Lanes()
    lanes.admit([message("a1"), message("a2")])
    assert lanes.settled(message("a1")) == message("a2")
    assert lanes.settled(message("a2")) is None
    assert lanes.settled(message("1")) is None
    assert lanes.admit([message("a3")]) == [message("a3")]


def test_what_arrives_while_the_oldest_waits_for_its_next_attempt_stays_behind_it() -> None:
    lanes = Lanes()
    lanes.admit([message("a1")])
    lanes.waits(message("a1"), until=10)
    assert lanes.admit([message("a2")]) == []
    assert lanes.overdue(now=9) == []
    assert lanes.admit([message("a1", "second")]) == [message("a1", "second")]
    assert lanes.overdue(now=99) == []
    assert lanes.settled(message("a1")) == message("a2")


def test_a_message_that_came_again_replaces_its_earlier_delivery() -> None:
    lanes = Lanes()
    lanes.admit([message("a1"), message("a2"), message("a3")])
    assert lanes.admit([message("a2", "second")]) == []
    assert lanes.behind() == [message("a2", "second"), message("a3")]


def test_what_waits_behind_a_message_that_went_elsewhere_is_let_go() -> None:
    lanes = Lanes()
    lanes.admit([message("a1"), message("a2")])
    lanes.waits(message("a1"), until=10)
    assert lanes.overdue(now=11) == [message("a2")]
    assert lanes.behind() == []
    assert lanes.admit([message("a2")]) == [message("a2")]


def test_what_waits_behind_a_message_that_is_given_back_is_given_back_too() -> None:
    lanes = Lanes()
    lanes.admit([message("a1"), message("a2")])
    assert lanes.dissolve(message("1")) == []
    assert lanes.dissolve(message("a1")) == [message("a2")]
    assert lanes.admit([message("a1")]) == [message("a1")]
