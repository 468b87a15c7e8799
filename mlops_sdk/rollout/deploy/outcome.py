"""What a deploy or rollback came to."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Outcome:
    """`release` is live as of ledger entry `entry`; `previous` was live before (empty: nothing was).

    `changed` is False when everything stood already. `elapsed_s` covers the whole command.
    """

    environment: str
    release: str
    digest: str
    previous: str
    entry: int
    changed: bool
    elapsed_s: float

    def document(self) -> dict[str, Any]:
        """Return JSON data: see `docs/reference/output.md`, "outcome"."""
        return asdict(self)

    def sentence(self) -> str:
        """Return one line for people."""
        if not self.changed:
            return f"{self.release} is live in {self.environment}: no change"
        before = f" after {self.previous}" if self.previous and self.previous != self.release else ""
        return f"{self.release} is live in {self.environment}{before} (entry #{self.entry}, {self.elapsed_s:.1f} s)"
