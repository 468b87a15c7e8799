"""The platform of an environment on a cluster: all that stands there before the first release."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pulumi
from pulumi_kubernetes import core

from infra import manifests, naming, variables
from infra.cluster import ClusterSettings
from infra.components.cluster import parts
from infra.components.cluster.account import DUTIES, Account, AccountArgs
from infra.components.cluster.gateway import Gateway, GatewayArgs
from infra.components.cluster.job import Job, JobArgs
from infra.components.cluster.layer import Layer, LayerArgs
from infra.components.cluster.orchestrator import Orchestrator, OrchestratorArgs
from infra.components.cluster.server import Server, ServerArgs
from infra.components.cluster.tracking import Tracking, TrackingArgs
from mlops_sdk.provider.job import ADMIN_URL_KEY, CONTROL_TABLES, PREFECT_PASSWORD_KEY, PREFECT_ROLE
from mlops_sdk.release.digest import digest_of


@dataclass(frozen=True)
class PlatformArgs:
    """`admin_url` is the administrator's address of a Postgres that is not the environment's own.

    `bucket` is where MLflow keeps artifacts, None: in a volume. `identities` maps a part to the annotations that tie
    its service account to one of a cloud.
    """

    settings: ClusterSettings[Any]
    admin_url: pulumi.Output[str] | None = None
    bucket: str | None = None
    identities: dict[str, dict[str, pulumi.Input[str]]] = field(default_factory=dict)


class Platform(pulumi.ComponentResource):
    """Variables, the database's contents, relay, MLflow, Prefect, agent and Gateway.

    Not the namespace, nor the server that Postgres is: they come before it and differ by kind.
    """

    environment: Layer

    def __init__(self, name: str, args: PlatformArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mlops-sdk:cluster:Platform", name, None, opts)
        self._args, self._settings = args, args.settings
        settings = args.settings
        self.environment = self._layer(
            parts.ENVIRONMENT,
            lambda key: variables.environment(settings, key).variables(),
            variables.given(settings.given),
        )
        operator = self._layer(parts.OPERATOR, lambda key: variables.operator(settings, key).variables())
        database = self._database([self.environment, operator])
        Server(
            naming.RELAY,
            ServerArgs(settings, parts.relay(settings), alone=False),
            pulumi.ResourceOptions(parent=self, depends_on=[self.environment]),
        )
        if settings.given.mlflow is None:
            account = self._account(naming.MLFLOW)
            Tracking(
                naming.MLFLOW,
                TrackingArgs(settings, args.bucket, account),
                pulumi.ResourceOptions(parent=self, depends_on=[database]),
            )
        Orchestrator(
            naming.PREFECT,
            OrchestratorArgs(settings),
            pulumi.ResourceOptions(parent=self, depends_on=[self.environment, database]),
        )
        self._agent(database, operator)
        Gateway(naming.GATEWAY, GatewayArgs(settings), pulumi.ResourceOptions(parent=self))
        self.register_outputs({})

    def _layer(self, name: str, build: Any, given: Mapping[str, pulumi.Input[str]] | None = None) -> Layer:
        secrets = {**variables.secrets(build, self._settings.master_key), **(given or {})}
        args = LayerArgs(self._settings, variables.shown(build), secrets)
        return Layer(name, args, pulumi.ResourceOptions(parent=self))

    def _database(self, before: list[pulumi.Resource]) -> Job:
        settings, needs = self._settings, list(before)
        values: dict[str, pulumi.Input[str]] = {}
        if self._args.admin_url is not None:
            values[ADMIN_URL_KEY] = variables.marked(self._args.admin_url)
        if settings.config.prefect_on_postgres and settings.given.prefect is None:
            password = settings.master_key.apply(lambda key: variables.password(key, PREFECT_ROLE))
            values[PREFECT_PASSWORD_KEY] = variables.marked(password)
        if values:
            needs.append(
                core.v1.Secret(
                    f"{parts.ADMINISTRATOR}-secret",
                    metadata=manifests.metadata(settings, parts.ADMINISTRATOR, "database"),
                    type="Opaque",
                    string_data=values,
                    opts=pulumi.ResourceOptions(parent=self),
                )
            )
        container = parts.database_job(settings, administrator=bool(values))
        # A newer SDK's control tables, or another image, are installed by a Job of another name.
        version = digest_of({"tables": CONTROL_TABLES, "image": container.image})[7:15]
        return Job(
            f"database-{version}",
            JobArgs(settings, container, component="database", tries=5),
            pulumi.ResourceOptions(parent=self, depends_on=needs),
        )

    def _agent(self, database: Job, operator: Layer) -> None:
        settings = self._settings
        annotations = self._args.identities.get(naming.AGENT, {})
        account = Account(
            naming.AGENT, AccountArgs(settings, DUTIES, annotations), pulumi.ResourceOptions(parent=self)
        )
        Server(
            naming.AGENT,
            ServerArgs(
                settings,
                parts.agent(settings),
                account=naming.AGENT,
                token=True,
                triggers={
                    "mlops.dev/environment-layer": self.environment.digest,
                    "mlops.dev/operator-layer": operator.digest,
                },
            ),
            pulumi.ResourceOptions(parent=self, depends_on=[database, account]),
        )

    def _account(self, name: str) -> str | None:
        """A service account with an identity of the cloud, where the part has one; None: it needs no token."""
        annotations = self._args.identities.get(name)
        if annotations is None:
            return None
        Account(name, AccountArgs(self._settings, (), annotations), pulumi.ResourceOptions(parent=self))
        return name
