"""Canonical JSON and its digest: equal values have equal bytes, on every machine and Python version.

It must not know what is being hashed.
"""

import hashlib
import json
import math
import re

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def canonical_json(value: object) -> bytes:
    """`value` (None, bool, int, float, str, list or tuple, dict with str keys) as canonical JSON in UTF-8.

    Keys are sorted by code point, nothing is padded, floats are written as Python's shortest repr, text as
    itself. Raises TypeError for other types and for keys that are no text, ValueError for NaN, infinities
    and text that is not valid Unicode: none of them has one spelling in JSON.
    """
    _check(value)
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8")


def digest_of(value: object) -> str:
    """`sha256:` and the 64 hex digits of the canonical JSON of `value`."""
    return digest_of_bytes(canonical_json(value))


def digest_of_bytes(content: bytes) -> str:
    """`sha256:` and the 64 hex digits of `content`."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


def short(digest: str) -> str:
    """The first 12 hex digits, for names of resources and folders. Raises ValueError for no digest."""
    if not is_digest(digest):
        raise ValueError(f"not a digest (sha256: and 64 hex digits): {digest!r}")
    return digest[7:19]


def is_digest(text: str) -> bool:
    """Whether `text` is `sha256:` and 64 lower-case hex digits."""
    return _DIGEST.fullmatch(text) is not None


def _check(value: object) -> None:
    match value:
        case None | bool() | int() | str():
            return
        case float():
            if not math.isfinite(value):
                raise ValueError(f"{value} has no canonical JSON")
        case list() | tuple():
            for item in value:
                _check(item)
        case dict():
            for key, item in value.items():
                if not isinstance(key, str):
                    raise TypeError(f"a key of canonical JSON is text, not {type(key).__name__}: {key!r}")
                _check(item)
        case _:
            raise TypeError(f"{type(value).__name__} has no canonical JSON")
