"""One release in the environment: its pg_schema, its variables, its service. All named by its digest."""

import pulumi

from infra import naming, variables
from infra.components.environment_files import EnvironmentFiles
from infra.settings import Settings
from mlops_sdk.provider import programs
from mlops_sdk.provider.resources import EnvFile, Process, ReleaseState
from mlops_sdk.release.digest import short
from mlops_sdk.stack.config import ReleaseSection


class Release(pulumi.ComponentResource):
    """A release that exists here, live or not: a pure function of its section and the platform's settings."""

    def __init__(
        self,
        settings: Settings,
        section: ReleaseSection,
        files: EnvironmentFiles,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        name = naming.release_name(section)
        super().__init__("mlops-sdk:local:Release", name, None, opts)
        inside = pulumi.ResourceOptions(parent=self)
        state = ReleaseState(
            f"{name}-state",
            digest=section.digest,
            release=section.release,
            pg_schema=section.pg_schema,
            role=section.role,
            password=settings.master_key.apply(lambda key: variables.password(key, section.role)),
            opts=inside,
        )
        layer = f"release-{short(section.digest)}"
        file = EnvFile(
            f"{name}-env",
            file=layer,
            values=variables.by_key(
                lambda key: variables.release(settings, section, key), settings.master_key
            ),
            opts=inside,
        )
        if section.service is not None:
            Process(
                naming.service_name(section),
                program=programs.service(
                    name=naming.service_name(section),
                    python=naming.python(settings.project, section),
                    checkout=naming.checkout(settings.project, section),
                    port=section.service_port,
                    env_files=(
                        naming.env_file(settings.folder, "environment"),
                        naming.env_file(settings.folder, layer),
                    ),
                ),
                triggers=[files.environment.digest, file.digest],
                opts=pulumi.ResourceOptions(parent=self, depends_on=[state]),
            )
        self.register_outputs({})
