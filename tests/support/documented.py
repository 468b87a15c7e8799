"""What `docs/reference/output.md` promises, the field names of JSON data in its spelling, and a ledger to ask."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from mlops_sdk.ledger.entries import Entry, Pointer
from mlops_sdk.release.binding import Binding

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DIGEST = "sha256:" + "a" * 64
OUTPUT = (Path(__file__).parents[2] / "docs" / "reference" / "output.md").read_text(encoding="utf-8")
# Objects whose keys are data: documented as KEY, or described elsewhere.
FREE = {"addresses", "models"}


def documented(section: str) -> set[str]:
    """The field names of a section of output.md: the code in the first cells of its table."""
    _, _, rest = OUTPUT.partition(f"\n{section}\n")
    assert rest, section
    text = re.split(r"\n#", rest, maxsplit=1)[0]
    cells = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


def names(value: Any, prefix: str = "", *, into: tuple[str, ...] = ()) -> Iterator[str]:
    """The field names of JSON data, in the spelling of output.md. `into` are the objects to look into."""
    if isinstance(value, list):
        for element in value:
            yield from names(element, f"{prefix}[]", into=into)
    elif isinstance(value, dict):
        last = prefix.rpartition(".")[2]
        for key, inner in value.items():
            name = "KEY" if last in FREE else key
            path = f"{prefix}.{name}" if prefix else name
            deeper = isinstance(inner, list | dict) and (key in into or key in FREE)
            yield from names(inner, path, into=into) if deeper else [path]


BINDING = Binding(
    environment="local",
    digest=DIGEST,
    release="v0.0.1",
    seq=1,
    pg_schema="rel_shop_000001_aaaaaaaa",
    role="rel_shop_000001_aaaaaaaa",
    service_port=1,
)
ENTRY = Entry("local", 1, None, NOW, "live", DIGEST, 1, "ann", "", "", {"release": "v0.0.1"})
LOCK = SimpleNamespace(
    release="v0.0.1",
    digest=DIGEST,
    code=SimpleNamespace(commit="c" * 40),
    models={"ranker": SimpleNamespace(name="movie-ranker", version=1)},
)


class LedgerDouble:
    """A ledger with one live release."""

    def pointer(self) -> Pointer:
        return Pointer(DIGEST, 1, 4)

    def hold(self) -> None:
        return None

    def bindings(self, *, retired: bool = False) -> list[Binding]:
        del retired
        return [BINDING]

    def binding(self, digest: str) -> Binding:
        del digest
        return BINDING

    def statuses(self) -> dict[str, str]:
        return {DIGEST: "cut"}

    def lock(self, digest: str) -> Any:
        del digest
        return LOCK

    def entries(self, **_: Any) -> list[Entry]:
        return [ENTRY]

    def verify(self) -> int:
        return 1

    def at(self, time: datetime) -> Entry:
        del time
        return ENTRY

    def resolve(self, address: Any) -> Entry:
        del address
        return ENTRY

    @contextmanager
    def connect(self) -> Iterator[None]:
        yield
