"""One release in the environment: its pg_schema, its variables, service, jobs and flows. All named by its digest."""

from collections.abc import Iterator

import pulumi

from infra import naming, variables
from infra.components.environment_files import EnvironmentFiles
from infra.components.orchestrator import Orchestrator
from infra.settings import Settings
from mlops_sdk.platform.program import Program
from mlops_sdk.provider import programs
from mlops_sdk.provider.resources import EnvFile, Flow, Process, ReleaseState
from mlops_sdk.release.binding import invoker_port
from mlops_sdk.stack.config import ReleaseSection


class Release(pulumi.ComponentResource):
    """A release that exists here, live or not: a pure function of its section and the platform's settings."""

    def __init__(
        self,
        settings: Settings,
        section: ReleaseSection,
        files: EnvironmentFiles,
        orchestrator: Orchestrator,
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
        layer = naming.layer_name(section)
        file = EnvFile(
            f"{name}-env",
            file=layer,
            values=variables.by_key(
                lambda key: variables.release(settings, section, key), settings.master_key
            ),
            opts=inside,
        )
        triggers = [files.environment.digest, file.digest]
        after = pulumi.ResourceOptions(parent=self, depends_on=[state])
        for program in _programs(settings, section):
            Process(program.name, program=program, triggers=triggers, opts=after)
        for flow, spec in section.flows.items():
            Flow(
                naming.flow_name(section, flow),
                flow=flow,
                deployment=naming.flow_deployment(settings.pool_variable, section),
                spec=spec,
                pool=settings.work_pool,
                api_url=settings.prefect_api_url,
                checkout=naming.checkout(settings.project, section),
                python=naming.python(settings.project, section),
                layer=layer,
                release=section.release,
                digest=section.digest,
                opts=pulumi.ResourceOptions(parent=self, depends_on=[state, file, orchestrator]),
            )
        self.register_outputs({})


def _programs(settings: Settings, section: ReleaseSection) -> Iterator[Program]:
    """The release's own processes, in its own code, with both layers of variables. Pure."""
    python, checkout = naming.python(settings.project, section), naming.checkout(settings.project, section)
    layers = ("environment", naming.layer_name(section))
    env_files = tuple(naming.env_file(settings.folder, layer) for layer in layers)
    if section.service is not None:
        yield programs.service(
            name=naming.service_name(section),
            python=python,
            checkout=checkout,
            port=section.service_port,
            env_files=env_files,
        )
    if section.jobs is not None:
        yield programs.job_consumer(
            name=naming.jobs_name(section),
            python=python,
            checkout=checkout,
            jobs=section.jobs,
            env_files=env_files,
        )
        yield programs.invoker(
            name=naming.invoker_name(section),
            python=python,
            checkout=checkout,
            jobs=section.jobs,
            port=invoker_port(section.service_port),
            env_files=env_files,
        )
