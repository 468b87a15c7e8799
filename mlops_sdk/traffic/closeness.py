"""Carrying what is written until little is left, for the target of a handover and for those beside it.

It locks nothing, and must not know what the transaction does that follows.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from pydantic import SecretStr

from mlops_sdk.errors import PolicyError
from mlops_sdk.ledger.database import Connection, LeaseToken
from mlops_sdk.state import carry
from mlops_sdk.state.drain import bystanders
from mlops_sdk.traffic.attempts import ROUNDS_BETWEEN, SMALL_KEYS


@dataclass
class Closeness:
    """`releases` take part, `target` is the one that rights move to or from; all by digest.

    `left_out` are bystanders that cannot hold what waits for them: they are not waited for, which `report` says.
    """

    conninfo: SecretStr
    environment: str
    target: str
    releases: Sequence[str]
    lease: LeaseToken | None
    report: Callable[[str], None] | None
    left_out: set[str] = field(default_factory=set)

    def come_close(self, conn: Connection, *, rounds: int = ROUNDS_BETWEEN) -> None:
        """Carry. Raises PolicyError when one that takes part cannot hold a row."""
        for digest in self.releases:
            self._catch_up(digest, rounds)
        for digest in bystanders(conn, self.environment, self.target):
            if digest not in self.left_out and digest not in self.releases:
                self._follow(digest, rounds)

    def _follow(self, digest: str, rounds: int) -> None:
        try:
            self._catch_up(digest, rounds)
        except PolicyError as error:
            self.left_out.add(digest)
            if self.report is not None:
                self.report(f"not waited for: {error}")

    def _catch_up(self, digest: str, rounds: int) -> None:
        carry.catch_up(
            self.conninfo, self.environment, digest, lease=self.lease, small=SMALL_KEYS, rounds=rounds
        )
