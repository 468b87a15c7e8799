"""mlops:index:Database: databases, roles, control tables and the ledger, in the environment's Postgres.

The only resource that connects as an administrator: of its own server, with the password derived from its input
`masterKey`; of one that is given, by `adminUrl`.
"""

from typing import TYPE_CHECKING

from mlops_sdk.errors import AuthError, InputError, PolicyError
from mlops_sdk.provider.handler import Environment, Handler
from mlops_sdk.provider.values import Plain

if TYPE_CHECKING:
    from pydantic import SecretStr

SUPERUSER = "postgres"


class DatabaseHandler(Handler):
    """Inputs: `app` (the name of the release database), `masterKey`; `host` and `port`, or `adminUrl`.

    Output: `ledgerVersion`. Deleting it deletes nothing: data goes with the server's files, when a person says so.
    """

    type = "mlops:index:Database"
    required = ("app", "masterKey")
    optional = ("host", "port", "adminUrl")
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
        if inputs.get("adminUrl"):
            _refuse_strangers(inputs, env.name)
        elif old and old["masterKey"] != inputs["masterKey"]:
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


def admin_of(inputs: Plain) -> "SecretStr":
    """Address of the administrator that the inputs name. It has the password. Raises InputError."""
    return _admin(inputs, _secret(inputs["masterKey"]))


def _admin(inputs: Plain, key: "SecretStr", database: str = "postgres") -> "SecretStr":
    import psycopg
    from psycopg.conninfo import make_conninfo
    from pydantic import SecretStr

    from mlops_sdk.runtime.passwords import derive

    if inputs.get("adminUrl"):
        try:
            return SecretStr(make_conninfo(str(inputs["adminUrl"]), dbname=database))
        except psycopg.Error:
            # `from None`: the original error quotes the URL.
            raise InputError(
                "the administrator's URL is none that Postgres understands",
                where="stack config mlops-sdk:postgresUrl",
                remedy="escape what is no letter or digit in user and password, as in %40 for @",
            ) from None
    password = derive(key, SUPERUSER).get_secret_value()
    return SecretStr(
        make_conninfo(
            host=inputs["host"], port=inputs["port"], user=SUPERUSER, password=password, dbname=database
        )
    )


def _refuse_strangers(inputs: Plain, environment: str) -> None:
    """Raises PolicyError when a given server has the ledger of another environment, of this app or any other.

    Roles are the whole server's: installing here would give them other passwords, and lock that one out.
    """
    from mlops_sdk.ledger.database import connect

    admin = _admin(inputs, _secret(inputs["masterKey"]))
    with connect(admin, "mlops install") as conn:
        where = f"postgres {conn.info.host}:{conn.info.port}"
        rows = conn.execute(
            "SELECT datname FROM pg_database"
            " WHERE datallowconn AND NOT datistemplate AND has_database_privilege(oid, 'CONNECT')"
        ).fetchall()
    mine = (str(inputs["app"]), environment)
    others = [(str(name), env) for (name,) in rows for env in _environments(inputs, str(name))]
    for database, env in others:
        if (database, env) != mine:
            raise PolicyError(
                f"the server belongs to environment {env or '(unknown)'} with database {database}",
                where=where,
                remedy="roles are the whole server's: give this environment a server of its own",
            )


def _environments(inputs: Plain, database: str) -> list[str]:
    """The environments whose ledger is in a database; an empty name for those that we may not read."""
    from mlops_sdk.ledger.database import connect

    with connect(_admin(inputs, _secret(inputs["masterKey"]), database), "mlops install") as conn:
        row = conn.execute(
            "SELECT has_table_privilege(c.oid, 'SELECT') AND"
            " has_schema_privilege(c.relnamespace, 'USAGE')"
            " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE n.nspname = 'mlops' AND c.relname = 'pointer'"
        ).fetchone()
        if row is None:
            return []
        if not row[0]:
            return [""]
        return [str(env) for (env,) in conn.execute("SELECT env FROM mlops.pointer").fetchall()]


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
