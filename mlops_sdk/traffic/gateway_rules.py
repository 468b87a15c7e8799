"""The rules of an HTTPRoute for two slots, and what rules say. Pure; `gateway` writes and reads them.

Requests that name their bucket are matched by header: whole first digits, then single buckets, at most 30 exact
matches for any share. All others are divided by weights in 256ths. Within a route, of two rules with as many
header matches the first one wins (Gateway API v1, HTTPRouteRule), so their order is part of the meaning.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlops_sdk.release.buckets import BUCKET_HEADER, BUCKET_HIGH_HEADER, BUCKETS, SLOT_HEADER

Rule = dict[str, Any]

_DIGITS = "0123456789abcdef"


@dataclass(frozen=True)
class Split:
    """The services of the two slots (None: none), and the shares of `next` as in `port.Routes`."""

    current: str | None
    next: str | None = None
    next_share: int = 0
    keyless_share: int = 0


def rules_of(split: Split, port: int) -> list[Rule]:
    """The `spec.rules` for a split; services listen on `port`. Raises ValueError for a share outside of 0..256.

    Without a current service there is one rule without backends, which a gateway answers with an error.
    """
    for share in (split.next_share, split.keyless_share):
        if not 0 <= share <= BUCKETS:
            raise ValueError(f"a share of traffic is 0 to {BUCKETS} buckets, not {share}")
    if split.current is None:
        return [{"matches": [_path()]}]
    current = [_backend(split.current, port)]
    if split.next is None:
        return [{"matches": [_path()], "backendRefs": current}]
    last = {
        "matches": [_path()],
        "backendRefs": [
            _backend(split.current, port, BUCKETS - split.keyless_share),
            _backend(split.next, port, split.keyless_share),
        ],
    }
    if split.next_share == split.keyless_share == 0:
        return [last]
    return [
        {"matches": [_header(SLOT_HEADER, "current")], "backendRefs": current},
        *_to_next(split.next_share, _backend(split.next, port)),
        {"matches": [_header(BUCKET_HIGH_HEADER, digit) for digit in _DIGITS], "backendRefs": current},
        last,
    ]


def split_of(rules: Sequence[Mapping[str, Any]]) -> Split:
    """What rules of `rules_of` say; the inverse of it. Rules of anybody else say that nothing is routed."""
    if not rules:
        return Split(None)
    backends = rules[-1].get("backendRefs") or []
    if not backends:
        return Split(None)
    if len(backends) == 1:
        return Split(backends[0]["name"])
    current, following = backends[0], backends[1]
    return Split(
        current["name"],
        following["name"],
        next_share=_share_of(rules, following["name"]),
        keyless_share=following.get("weight", 1),
    )


def _to_next(share: int, backend: Mapping[str, Any]) -> list[Rule]:
    whole, rest = divmod(share, len(_DIGITS))
    matches = [_header(BUCKET_HIGH_HEADER, digit) for digit in _DIGITS[:whole]]
    matches += [_header(BUCKET_HEADER, _DIGITS[whole] + digit) for digit in _DIGITS[:rest]]
    return [{"matches": matches, "backendRefs": [dict(backend)]}] if matches else []


def _share_of(rules: Sequence[Mapping[str, Any]], following: str) -> int:
    share = 0
    for rule in rules[:-1]:
        if [backend["name"] for backend in rule.get("backendRefs") or []] == [following]:
            for match in rule["matches"]:
                names = {header["name"] for header in match.get("headers") or []}
                share += len(_DIGITS) if names == {BUCKET_HIGH_HEADER} else 1
    return share


def _path() -> Rule:
    # What the API server would fill in: left out, every later reading would differ from what was written.
    return {"path": {"type": "PathPrefix", "value": "/"}}


def _header(name: str, value: str) -> Rule:
    return {**_path(), "headers": [{"type": "Exact", "name": name, "value": value}]}


def _backend(service: str, port: int, weight: int = 1) -> Rule:
    return {"group": "", "kind": "Service", "name": service, "port": port, "weight": weight}
