"""One process that releases one changed table, as the comparison with SQLMesh counts it.

    BENCH_PASSWORD=… BENCH_MASTER_KEY=… python -m tools.bench.state.release_once PORT DATABASE TAG ROWS FACTOR

Prints the seconds that it took after its imports.
"""

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr


@dataclass(frozen=True)
class Order:
    """What to release and where."""

    port: int
    database: str
    tag: str
    rows: int
    factor: int

    def arguments(self) -> list[str]:
        """The order as the command's arguments."""
        return [str(self.port), self.database, self.tag, str(self.rows), str(self.factor)]


def main(arguments: list[str]) -> None:
    """Bind, build what is missing, cut, hand over."""
    from tools.bench.state.releases import Releases
    from tools.bench.state.server import Server
    from tools.bench.state.sqlmesh import build_from_source, tables

    order = Order(int(arguments[0]), arguments[1], arguments[2], int(arguments[3]), int(arguments[4]))
    secret = [SecretStr(os.environ[name]) for name in ("BENCH_PASSWORD", "BENCH_MASTER_KEY")]
    started = time.perf_counter()
    releases = Releases(Server(order.port, secret[0], secret[1], Path()), order.database)
    wanted = tables(order.rows, order.factor)
    binding = releases.bind(order.tag, wanted)
    built = releases.build(binding, {spec.name: build_from_source for spec in wanted})
    if built != 1:
        raise RuntimeError(f"{built} tables were built instead of the changed one")
    releases.cut(binding)
    releases.make_live(order.tag)
    print(time.perf_counter() - started)


if __name__ == "__main__":
    main(sys.argv[1:])
