"""Request ids and W3C trace context: read from a request, given to its answer. Pure.

https://www.w3.org/TR/trace-context/
"""

import random
import re
from collections.abc import Mapping

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
# Version 00; of a later version the first four fields mean the same.
_PARENT = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
_NO_TRACE, _NO_SPAN = b"0" * 32, b"0" * 16
_bits = random.Random().getrandbits  # noqa: S311 - ids must differ, they are no secret


def request_id(headers: Mapping[bytes, bytes]) -> bytes:
    """The client's own id, else the trace's, else a new one of 32 hex digits."""
    given = headers.get(b"x-request-id")
    if given is not None and _REQUEST_ID.fullmatch(given):
        return given
    parent = headers.get(b"traceparent")
    if parent is not None and (found := parsed(parent)):
        return found[0]
    return b"%032x" % _bits(128)


def parsed(parent: bytes) -> tuple[bytes, bytes] | None:
    """Trace id and flags of a header `traceparent`; None if it is not valid, which starts a new trace."""
    found = _PARENT.fullmatch(parent)
    if found is None or found[1] == b"ff" or found[2] == _NO_TRACE or found[3] == _NO_SPAN:
        return None
    return found[2], found[4]


def passed_on(headers: Mapping[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    """The trace headers of an answer: the same trace with a span of our own, and its state unchanged."""
    parent = headers.get(b"traceparent")
    if parent is None or (found := parsed(parent)) is None:
        return []
    trace, flags = found
    passed = [(b"traceparent", b"00-%b-%016x-%b" % (trace, _bits(64) or 1, flags))]
    state = headers.get(b"tracestate")
    return [*passed, (b"tracestate", state)] if state else passed
