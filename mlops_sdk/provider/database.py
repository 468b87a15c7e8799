"""mlops:index:Database: databases, roles, control tables and the ledger, in the environment's Postgres.

The only resource that connects as an administrator, with the password derived from its input `masterKey`.
"""

from typing import TYPE_CHECKING

from mlops_sdk.errors import AuthError
from mlops_sdk.provider.handler import Environment, Handler
from mlops_sdk.provider.values import Plain

if TYPE_CHECKING:
    from pydantic import SecretStr

SUPERUSER = "postgres"


class DatabaseHandler(Handler):
    """Inputs: `host`, `port`, `app` (the name of the release database), `masterKey`. Output: `ledgerVersion`.

    Deleting it deletes nothing: data goes with the server's files, when a person says so.
    """

    type = "mlops:index:Database"
    required = ("host", "port", "app", "masterKey")
    replace_on = ()

    def identify(self, inputs: Plain) -> str:
        return str(inputs["app"])

    def outputs(self, env: Environment, inputs: Plain) -> Plain:
        from mlops_sdk.ledger.install import SCHEMA_VERSION

        del env, inputs
        return {"ledgerVersion": SCHEMA_VERSION}

    def drift(self, env: Environment, inputs: Plain, outputs: Plain) -> str | None:
        # An SDK with newer control tables installs them by the next update.
        return None if outputs == {**outputs, **self.outputs(env, inputs)} else "ledgerVersion"

    def apply(self, env: Environment, inputs: Plain, old: Plain | None) -> None:
        from mlops_sdk.ledger import install
        from mlops_sdk.runtime.passwords import derive

        key = _secret(inputs["masterKey"])
        if old and old["masterKey"] != inputs["masterKey"]:
            _rotate(inputs, _secret(old["masterKey"]), key)
        passwords = {role: derive(key, role) for role in install.LOGIN_ROLES}
        install.install(_admin(inputs, key), str(inputs["app"]), passwords, environment=env.name)

    def read(self, env: Environment, inputs: Plain) -> Plain | None:
        from mlops_sdk.ledger.database import connect
        from mlops_sdk.ledger.migrations import installed_version

        del env
        with connect(_admin(inputs, _secret(inputs["masterKey"])), "mlops refresh") as conn:
            found = conn.execute("SELECT FROM pg_database WHERE datname = %s", [inputs["app"]]).rowcount
        if not found:
            return None
        with connect(
            _admin(inputs, _secret(inputs["masterKey"]), str(inputs["app"])), "mlops refresh"
        ) as conn:
            return {"ledgerVersion": installed_version(conn)}

    def delete(self, env: Environment, inputs: Plain) -> None:
        del env, inputs


def _admin(inputs: Plain, key: "SecretStr", database: str = "postgres") -> "SecretStr":
    from psycopg.conninfo import make_conninfo
    from pydantic import SecretStr

    from mlops_sdk.runtime.passwords import derive

    password = derive(key, SUPERUSER).get_secret_value()
    return SecretStr(
        make_conninfo(
            host=inputs["host"], port=inputs["port"], user=SUPERUSER, password=password, dbname=database
        )
    )


def _rotate(inputs: Plain, old: "SecretStr", new: "SecretStr") -> None:
    """Gives the superuser the password of the new master key, if it still has that of the old one."""
    from psycopg import sql

    from mlops_sdk.ledger.database import connect
    from mlops_sdk.ledger.install import scram_verifier
    from mlops_sdk.runtime.passwords import derive

    try:
        connection = connect(_admin(inputs, old), "mlops rotate")
    except AuthError:
        return
    with connection as conn:
        verifier = scram_verifier(conn, SUPERUSER, derive(new, SUPERUSER))
        statement = sql.SQL("ALTER ROLE {} PASSWORD {}")
        conn.execute(statement.format(sql.Identifier(SUPERUSER), sql.Literal(verifier)))


def _secret(value: object) -> "SecretStr":
    from pydantic import SecretStr

    return SecretStr(str(value))
