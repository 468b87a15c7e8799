"""Bodies that no endpoint of the model server takes: bytes by chance, broken JSON, JSON of other shapes and types."""

import json
import random
from collections.abc import Iterator
from typing import Any

_GOOD = [
    {"data": [[5.1, 3.5, 1.4, 0.2]]},
    {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP64", "data": [5.1, 3.5, 1.4, 0.2]}]},
    {"dataframe_split": {"data": [[5.1, 3.5, 1.4, 0.2]]}},
    {"model_uri": "models:/iris/1"},
]
# None of these is a number, a row or the name of something that there is.
_WRONG: list[Any] = [None, True, "", "1.0", "NaN", {}, [[]], [None], {"a": 1}, "models:/x", "\x00", "é" * 50]


def bodies(seed: int, count: int) -> Iterator[bytes]:
    """So many bodies, the same for the same seed."""
    chance = random.Random(seed)
    makers = (_noise, _cut, _deep, _mutated, _numbers)
    for _ in range(count):
        yield chance.choice(makers)(chance)


def _noise(chance: random.Random) -> bytes:
    # 0xff is in no UTF-8, so it is no JSON either.
    return chance.randbytes(chance.randrange(0, 200)) + b"\xff"


def _cut(chance: random.Random) -> bytes:
    text = json.dumps(chance.choice(_GOOD)).encode()
    return text[: chance.randrange(0, len(text))]


def _deep(chance: random.Random) -> bytes:
    depth = chance.randrange(2, 3_000)
    opened = chance.choice([b"[", b'{"data":', b'{"inputs":['])
    return opened * depth


def _numbers(chance: random.Random) -> bytes:
    number = chance.choice(
        ["NaN", "Infinity", "-Infinity", "1e999999", "01", "+1", "0x10", "1.", ".5", "--1"]
    )
    return b'{"data": [[%b, 1, 1, "x"]]}' % number.encode()


def _mutated(chance: random.Random) -> bytes:
    document = json.loads(json.dumps(chance.choice(_GOOD)))
    wrong = chance.choice(_WRONG)
    key = next(iter(document))
    match chance.randrange(3):
        case 0:
            document[key] = wrong
        case 1:
            document = {f"{key}{chance.choice('abc')}": document[key]}
        case _:
            document[key] = [[5.1, 3.5, 1.4, wrong]]
    return json.dumps(document).encode()
