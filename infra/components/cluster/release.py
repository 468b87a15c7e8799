"""One release in an environment on a cluster: variables, state, service, jobs and flows. All named by its digest."""

from dataclasses import dataclass
from typing import Any

import pulumi
from pydantic import SecretStr

from infra import manifests, naming, variables
from infra.cluster import ClusterSettings
from infra.components.cluster import parts
from infra.components.cluster.job import Job, JobArgs
from infra.components.cluster.jobs import Jobs, JobsArgs
from infra.components.cluster.layer import Layer, LayerArgs
from infra.components.cluster.model_service import ModelService, ModelServiceArgs
from infra.manifests import Container, Size
from mlops_sdk.provider.resources import Flow
from mlops_sdk.stack.config import ReleaseSection


@dataclass(frozen=True)
class ReleaseArgs:
    """`environment` is the platform's layer, whose change starts the service anew.

    `invoker_url` is the address of an invoker that is not in the cluster.
    """

    settings: ClusterSettings[Any]
    section: ReleaseSection
    environment: Layer
    invoker_url: pulumi.Output[str] | None = None


class Release(pulumi.ComponentResource):
    """A release that exists here, live or not: a pure function of its section and the platform's settings.

    Deleting it leaves its tables: only the janitor drops what nobody needs.
    """

    def __init__(self, args: ReleaseArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        settings, section = args.settings, args.section
        super().__init__("mlops-sdk:cluster:Release", naming.release_name(section), None, opts)
        layer = Layer(naming.layer_name(section), _layer(args), pulumi.ResourceOptions(parent=self))
        triggers: dict[str, pulumi.Input[str]] = {
            "mlops.dev/environment-layer": args.environment.digest,
            "mlops.dev/release-layer": layer.digest,
        }
        state = Job(
            naming.state_name(section),
            JobArgs(settings, state_job(settings, section), component="state", section=section),
            pulumi.ResourceOptions(parent=self, depends_on=[layer]),
        )
        if section.service is not None:
            ModelService(
                naming.service_name(section),
                ModelServiceArgs(
                    settings,
                    section,
                    triggers=triggers,
                ),
                pulumi.ResourceOptions(parent=self, depends_on=[state]),
            )
        if section.jobs is not None:
            Jobs(
                naming.jobs_name(section),
                JobsArgs(settings, section, triggers),
                pulumi.ResourceOptions(parent=self, depends_on=[state]),
            )
        for flow, spec in section.flows.items():
            Flow(
                naming.flow_name(section, flow),
                flow=flow,
                deployment=naming.flow_deployment(settings.pool_variable, section),
                spec=spec,
                pool=settings.work_pool,
                api_url=settings.prefect_api_url,
                checkout=settings.code_folder,
                image=settings.image("job", section),
                commit=section.commit,
                layer=naming.layer_name(section),
                release=section.release,
                digest=section.digest,
                opts=pulumi.ResourceOptions(parent=self, depends_on=[state]),
            )
        self.register_outputs({})


def _layer(args: ReleaseArgs) -> LayerArgs:
    settings, section = args.settings, args.section

    def release(key: SecretStr) -> variables.Variables:
        return variables.release(settings, section, key)

    elsewhere = {"MLOPS_INVOKER_URL": args.invoker_url} if args.invoker_url is not None else {}
    return LayerArgs(
        settings,
        shown={**variables.shown(release), **elsewhere},
        secrets=variables.secrets(release, settings.master_key),
        section=section,
    )


def state_job(settings: ClusterSettings[Any], section: ReleaseSection) -> Container:
    """What cuts the release's pg_schema, in the release's own image: a function of the release alone. Pure."""
    return Container(
        name="state",
        image=settings.image("job", section),
        command=manifests.module("mlops_sdk.provider.job", "release-state"),
        size=Size(cpu="50m", memory="256Mi"),
        layers=(parts.ENVIRONMENT, naming.layer_name(section)),
        secrets=(parts.OPERATOR,),
    )
