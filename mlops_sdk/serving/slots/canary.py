"""Which slot a request goes to: by its bucket where it has one, else by chance. Pure.

Stickiness is the one bucket function of `release.buckets`: a key stays where it is while the share stays, and as the
share of `next` grows, keys only ever move from `current` to `next`.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256

from mlops_sdk.release.buckets import BUCKET_HEADER, BUCKETS, SLOT_HEADER, bucket
from mlops_sdk.serving.slots.slots import SlotName

COOKIE = "mlops_bucket"
"""The cookie that holds a bucket: two hex digits, as the header does."""

_BUCKET = BUCKET_HEADER.lower().encode()
_SLOT = SLOT_HEADER.lower().encode()
_SLOTS: dict[bytes, SlotName] = {b"current": "current", b"next": "next"}
_PLACES = {b"%02x" % place: place for place in range(BUCKETS)}
_COOKIE = re.compile(rb"(?:^|;\s*)" + COOKIE.encode() + rb"=([0-9a-f]{2})(?:;|$)")
# What is remembered stays small whatever strangers send.
_KEYS, _KEY_BYTES = 4_096, 64


def _hashed(key: bytes) -> int:
    """The place of `app:key`."""
    return sha256(key).digest()[0]


# A hash takes as long as all else here, and who asks once often asks again.
_remembered = lru_cache(_KEYS)(_hashed)


@dataclass(frozen=True)
class Canary:
    """Divides requests: `share_of_current` from 0.0 to 1.0; keys of `app` in the header `key_header` if it is set."""

    share_of_current: float
    app: str = ""
    key_header: bytes = b""
    buckets_of_next: int = field(init=False)
    """How many of the 256 buckets go to `next`: those from 00 on."""
    _prefix: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "buckets_of_next", round((1.0 - self.share_of_current) * BUCKETS))
        object.__setattr__(self, "_prefix", f"{self.app}:".encode())

    def slot(self, headers: Mapping[bytes, bytes], chance: Callable[[], float]) -> SlotName:
        """The slot for a request with these headers, whose names are in lower case.

        `X-MLOps-Slot` is obeyed first; then a bucket: the header, the hash of the key, the cookie; then `chance`
        (uniform in [0, 1)).
        """
        if (wanted := headers.get(_SLOT)) is not None and (named := _SLOTS.get(wanted)):
            return named
        if self.share_of_current >= 1.0:
            return "current"
        if (place := self._bucket(headers)) is not None:
            return "next" if place < self.buckets_of_next else "current"
        return "next" if chance() >= self.share_of_current else "current"

    def new_bucket(self, headers: Mapping[bytes, bytes], chance: Callable[[], float]) -> bytes | None:
        """A bucket by chance (two hex digits) for a request that has none, to be kept in the cookie; else None."""
        return None if self._bucket(headers) is not None else b"%02x" % int(chance() * BUCKETS)

    def _bucket(self, headers: Mapping[bytes, bytes]) -> int | None:
        if (given := headers.get(_BUCKET)) and (place := _PLACES.get(given)) is not None:
            return place
        if self.key_header and (key := headers.get(self.key_header)):
            if key.isascii():  # the same byte as `bucket` finds, without going through texts
                place_of = _remembered if len(key) <= _KEY_BYTES else _hashed
                return place_of(self._prefix + key)
            return int(bucket(self.app, key.decode("latin-1")), 16)
        if (cookie := headers.get(b"cookie")) and (found := _COOKIE.search(cookie)):
            return _PLACES[found[1]]
        return None
