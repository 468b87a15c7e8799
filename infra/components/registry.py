"""The model registry: MLflow on the environment's Postgres."""

import pulumi

from infra import naming, variables
from infra.settings import Settings
from mlops_sdk.provider import programs
from mlops_sdk.provider.resources import EnvFile, Process


class Registry(pulumi.ComponentResource):
    """MLflow, ready. Its database address has a password, so it comes by a file of its own."""

    def __init__(self, name: str, settings: Settings, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mlops-sdk:local:Registry", name, None, opts)
        key = settings.master_key
        host, port = settings.database_host, settings.database_port
        file = EnvFile(
            f"{name}-env",
            file="mlflow",
            values={
                "MLFLOW_BACKEND_STORE_URI": key.apply(lambda text: variables.mlflow_store(text, host, port)),
                # Webhooks' secrets are kept under this key: it must never change by itself.
                "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": key.apply(naming.fernet_key),
            },
            opts=pulumi.ResourceOptions(parent=self),
        )
        Process(
            name,
            program=programs.mlflow(
                naming.place(settings.project, settings.environment),
                port=settings.ports.mlflow,
                env_file=naming.env_file(settings.folder, "mlflow"),
            ),
            triggers=[file.digest],
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({})
