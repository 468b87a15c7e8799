"""The environment's Postgres: the server, unless one is given, and what the SDK installs in it."""

import pulumi
from pydantic import SecretStr

from infra import naming
from infra.settings import Settings
from mlops_sdk.provider import programs
from mlops_sdk.provider.resources import Database, EnvFile, Process
from mlops_sdk.runtime.passwords import derive


class DatabaseServer(pulumi.ComponentResource):
    """Postgres, ready, with databases, roles and ledger. Whatever talks to it depends on this component."""

    def __init__(self, name: str, settings: Settings, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mlops-sdk:local:DatabaseServer", name, None, opts)
        given = settings.given.postgres
        Database(
            f"{name}-databases",
            app=settings.project.app,
            master_key=settings.master_key,
            port=None if given else settings.ports.postgres,
            admin_url=given.admin if given else None,
            opts=pulumi.ResourceOptions(
                parent=self, depends_on=[] if given else [self._server(name, settings)]
            ),
        )
        self.register_outputs({})

    def _server(self, name: str, settings: Settings) -> Process:
        """The embedded server, with the file that has its superuser's password."""
        inside = pulumi.ResourceOptions(parent=self)
        password = settings.master_key.apply(
            lambda key: derive(SecretStr(key), programs.SUPERUSER).get_secret_value()
        )
        file = EnvFile(
            f"{name}-env", file="postgres", values={programs.POSTGRES_PASSWORD_KEY: password}, opts=inside
        )
        return Process(
            name,
            program=programs.postgres(
                naming.place(settings.project, settings.environment),
                port=settings.ports.postgres,
                env_file=naming.env_file(settings.folder, "postgres"),
            ),
            triggers=[file.digest],
            opts=inside,
        )
