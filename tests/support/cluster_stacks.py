"""The real stack files on clusters, as settings, with releases: what tests of the program and its policies run on."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pulumi
from ruamel.yaml import YAML

from infra.cluster import GcpSettings, KubernetesSettings
from infra.given import Given
from infra.kinds import gcp, kubernetes
from mlops_sdk.release.project import Project
from mlops_sdk.stack.config import PROJECT, ReleaseSection
from mlops_sdk.stack.kinds import RELEASE_KEYS, SECRET_KEYS, GcpConfig, KubernetesConfig
from tests.support.declared import Declared, declare
from tests.support.environment import MASTER_KEY

STACKS = Path(__file__).resolve().parents[2] / "stacks"
OUTPUTS: Mapping[str, dict[str, Any]] = {
    "Account": {
        "email": "{name}@p.iam.gserviceaccount.com",
        "member": "serviceAccount:{name}@p",
        "name": "projects/p/serviceAccounts/{name}",
    },
    "ServiceIdentity": {"member": "serviceAccount:service-1@gcp-sa-pubsub.iam.gserviceaccount.com"},
    "DatabaseInstance": {"privateIpAddress": "10.9.8.7"},
    "SecretVersion": {"version": "1"},
    "cloudrunv2/service:Service": {"uri": "https://{name}.example"},
    "IAMCustomRole": {"name": "projects/p/roles/{name}"},
    "UptimeCheckConfig": {"uptimeCheckId": "{name}-id"},
    "NotificationChannel": {"name": "projects/p/notificationChannels/{name}"},
}
"""Outputs of resources that other resources use."""

Settings = KubernetesSettings | GcpSettings


def written(stack: str) -> dict[str, Any]:
    """The keys of a stack file that a person wrote, without their prefix."""
    document = YAML(typ="safe").load((STACKS / f"Pulumi.{stack}.yaml").read_text(encoding="utf-8"))
    keys = {key.removeprefix(f"{PROJECT}:"): value for key, value in document["config"].items()}
    return {key: value for key, value in keys.items() if key not in (*RELEASE_KEYS, *SECRET_KEYS)}


def settings(
    stack: str, *releases: ReleaseSection, live: int | None = None, given: Given | None = None, **changes: Any
) -> Settings:
    """The settings of a stack file with these releases, of which that with sequence number `live` is live."""
    values = written(stack) | changes
    values = {key: value for key, value in values.items() if value is not None}
    project = Project(root=Path("/a project"), app="recommender", environments=("local", "stg", "prd"))
    wanted = next((one.digest for one in releases if one.seq == live), None)
    key = pulumi.Output.secret(MASTER_KEY.get_secret_value())
    rest = (key, releases, wanted, given or Given())
    if values["kind"] == "gcp":
        return GcpSettings(project, stack, GcpConfig.model_validate(values), *rest)
    return KubernetesSettings(project, stack, KubernetesConfig.model_validate(values), *rest)


def declared(stack: str, *releases: ReleaseSection, **changes: Any) -> Declared:
    """What the program declares for a stack file; `changes` as `settings` has them."""

    def program() -> None:
        found = settings(stack, *releases, **changes)
        gcp.assemble(found) if isinstance(found, GcpSettings) else kubernetes.assemble(found)

    return declare(program, stack, **OUTPUTS)


def with_repository(found: Settings, repository: str) -> Settings:
    """The same settings in a project whose images are in `repository`."""
    return replace(found, project=replace(found.project, image_repository=repository))
