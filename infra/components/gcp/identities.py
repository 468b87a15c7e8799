"""Service accounts of Google Cloud: one a part, with what that part does and no more.

No role is given on the project where one on a single resource would do; none is owner, editor or admin of anything.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
from pulumi_gcp import projects, serviceaccount

from infra import naming
from infra.cluster import GcpSettings
from infra.naming import AGENT, FLOW_RUN, INVOKER, MLFLOW

NODES = "nodes"
PARTS: Mapping[str, str] = {
    MLFLOW: "MLflow: reads and writes its bucket of artifacts",
    AGENT: "the agent: sends and receives messages",
    INVOKER: "the invoker: sends messages",
    FLOW_RUN: "flow runs and job consumers: send and receive messages",
    NODES: "nodes of the cluster: write logs and metrics, pull images",
}
NODE_ROLES = ("roles/container.defaultNodeServiceAccount", "roles/artifactregistry.reader")
OPERATOR_PERMISSIONS = (
    "container.clusters.connect",
    "container.clusters.get",
    "container.pods.get",
    "container.pods.getLogs",
    "container.pods.list",
    "container.pods.portForward",
    "container.services.get",
    "container.services.list",
    "cloudsql.instances.login",
    "logging.logEntries.list",
)


@dataclass(frozen=True)
class IdentitiesArgs:
    """The settings of the environment."""

    settings: GcpSettings


class Identities(pulumi.ComponentResource):
    """Service accounts, workload identity for those that pods act as, and a role of our own for operators.

    `members` are the accounts as IAM spells them, by part; `emails` their names. What a part may do with a bucket or a
    queue is granted beside that resource.
    """

    members: dict[str, pulumi.Output[str]]
    emails: dict[str, pulumi.Output[str]]

    def __init__(self, name: str, args: IdentitiesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mlops-sdk:gcp:Identities", name, None, opts)
        self.members, self.emails = {}, {}
        for part, purpose in PARTS.items():
            self._account(part, purpose, args.settings)
        self._nodes(args.settings)
        self._operators(args.settings)
        self.register_outputs({})

    def annotations(self, part: str) -> dict[str, pulumi.Input[str]]:
        """What ties a service account of the cluster to that of a part."""
        return {"iam.gke.io/gcp-service-account": self.emails[part]}

    def _account(self, part: str, purpose: str, settings: GcpSettings) -> None:
        inside = pulumi.ResourceOptions(parent=self)
        account = serviceaccount.Account(
            f"account-{part}",
            # At most 30 characters, of which the environment's name needs some.
            account_id=naming.account_id(settings.project.app, settings.environment, part),
            project=settings.config.project,
            display_name=f"{settings.namespace}: {part}",
            description=purpose,
            opts=inside,
        )
        self.members[part], self.emails[part] = account.member, account.email
        if part == NODES:
            return
        pool = f"{settings.config.project}.svc.id.goog"
        serviceaccount.IAMMember(
            f"workload-{part}",
            service_account_id=account.name,
            role="roles/iam.workloadIdentityUser",
            member=f"serviceAccount:{pool}[{settings.namespace}/{part}]",
            opts=inside,
        )

    def _nodes(self, settings: GcpSettings) -> None:
        for role in NODE_ROLES:
            projects.IAMMember(
                f"nodes-{role.rpartition('/')[2]}",
                project=settings.config.project,
                role=role,
                member=self.members[NODES],
                opts=pulumi.ResourceOptions(parent=self),
            )

    def _operators(self, settings: GcpSettings) -> None:
        config = settings.config
        if not config.operators:
            return
        role = projects.IAMCustomRole(
            "operator-role",
            project=config.project,
            role_id=f"mlopsOperator_{settings.environment.replace('-', '_')}",
            title=f"mlops operator of {settings.environment}",
            permissions=list(OPERATOR_PERMISSIONS),
            opts=pulumi.ResourceOptions(parent=self),
        )
        for member in config.operators:
            projects.IAMMember(
                f"operator-{member}",
                project=config.project,
                role=role.name,
                member=member,
                opts=pulumi.ResourceOptions(parent=self),
            )
