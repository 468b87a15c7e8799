"""Which part of the traffic a key belongs to. Pure.

A client that sends these headers stays with one release while traffic is shifted, and each step of
a shift only ever adds buckets to `next`.
"""

import hashlib
import re

BUCKETS = 256
"""Parts that traffic is divided into; shares are counted in them."""

BUCKET_HEADER = "X-MLOps-Bucket"
BUCKET_HIGH_HEADER = "X-MLOps-Bucket-High"
SLOT_HEADER = "X-MLOps-Slot"


def bucket(app: str, key: str) -> str:
    """Two hex digits: the first byte of sha256(app + ":" + key), e.g. for an entity's id."""
    return hashlib.sha256(f"{app}:{key}".encode()).hexdigest()[:2]


def bucket_headers(app: str, key: str) -> dict[str, str]:
    """Request headers that pin `key` to its bucket; the first digit alone serves coarse routes."""
    digits = bucket(app, key)
    return {BUCKET_HEADER: digits, BUCKET_HIGH_HEADER: digits[0]}


def threshold(share: int) -> str:
    """The text that buckets are compared with: those that sort before it are among the `share`.

    `share` counts buckets, 0..256; "00" lets none through, "g" all, also longer hex strings that
    begin with the digits of a bucket. Raises ValueError outside of 0..256.
    """
    if not 0 <= share <= BUCKETS:
        raise ValueError(f"a share of traffic is 0 to {BUCKETS} buckets, not {share}")
    return "g" if share == BUCKETS else f"{share:02x}"


def share_of(text: str) -> int:
    """The share (0..256) that a threshold stands for; whatever is no threshold lets none through."""
    if text == "g":
        return BUCKETS
    return int(text, 16) if re.fullmatch("[0-9a-f]{2}", text) else 0
