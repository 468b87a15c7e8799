"""How far a release is behind what is written: keys that wait for its forks, and changes that are only logged.

It only reads.
"""

from mlops_sdk.ledger.database import Connection
from mlops_sdk.state import apply
from mlops_sdk.state.forks import read_forks

_MOST = 100_000  # more is only called that much


def waiting_keys(conn: Connection, environment: str, digest: str) -> int:
    """Keys and logged changes that the release's forks do not have yet; a fork that is not followed has all to get."""
    forks = [
        f for f in read_forks(conn, environment, digests=[digest]) if f.is_carried_to and not f.is_written
    ]
    if any(fork.state != "following" for fork in forks):
        return _MOST
    waiting = sum(apply.waiting(conn, forks, most=_MOST))
    return waiting + apply.logged(conn, sorted({fork.table for fork in forks}), most=_MOST)
