"""Functions that would let a release write round the fence: those that run as an owner who may write forks.

What a function does cannot be known from its text; whose rights it runs with can. It must not change anything.
"""

from mlops_sdk.errors import PolicyError
from mlops_sdk.ledger.database import Connection
from mlops_sdk.state.queries import query


def definers(conn: Connection, environment: str) -> list[tuple[str, str]]:
    """SECURITY DEFINER functions, but the SDK's own, whose owner may write to a fork: (function, owner)."""
    return conn.execute(query("doctor", "definers"), {"env": environment}).fetchall()


def refuse_definers(conn: Connection, environment: str) -> None:
    """Raise PolicyError that names them: a release that is not live could write through one."""
    found = definers(conn, environment)
    if found:
        listed = ", ".join(f"{function} (of {owner})" for function, owner in found)
        raise PolicyError(
            f"functions run with the rights of somebody who may write forked tables: {listed}",
            where=environment,
            remedy=f"ALTER FUNCTION {found[0][0]} SECURITY INVOKER, or give it to an owner who may not",
        )
