"""What the stand-in knows of Google Cloud: property names, computed outputs, and what the service refuses.

An API that no `gcp:projects/service:Service` enabled refuses every resource of it, in Google's words; so does a region
that there is not. `MLOPS_STANDIN_GCP` is a folder: `apis` lists the APIs that are on, `refused` those that cannot be.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

from tests.standins.echo.provider import EchoProvider, Plain, Refused
from tests.standins.gcp import property_names

APIS = {
    "cloudrunv2": "run",
    "compute": "compute",
    "container": "container",
    "monitoring": "monitoring",
    "pubsub": "pubsub",
    "secretmanager": "secretmanager",
    "serviceaccount": "iam",
    "servicenetworking": "servicenetworking",
    "sql": "sqladmin",
    "storage": "storage",
}
REGIONS = ("europe-north1", "europe-west1", "europe-west4", "us-central1", "us-east1")
REPLACING = frozenset({"name", "project", "location", "region", "topic", "accountId", "network"})
TOPIC, SUBSCRIPTION = "gcp:pubsub/topic:Topic", "gcp:pubsub/subscription:Subscription"
SERVICE = "gcp:projects/service:Service"


class GcpProvider(EchoProvider):
    """The servicer."""

    package: ClassVar[str] = "gcp"
    version: ClassVar[str] = "10.2.0"

    def faults(self, token: str, inputs: Plain) -> list[tuple[str, str]]:
        """What pulumi_gcp's own classes do not have."""
        return property_names.faults(token, inputs)

    def replacing(self, token: str) -> frozenset[str]:
        """A guess: the fields that identify a resource in most of Google's APIs."""
        del token
        return REPLACING

    def identify(self, token: str, name: str, inputs: Plain) -> str:
        """As Google's, where the program uses it."""
        kind = {TOPIC: "topics", SUBSCRIPTION: "subscriptions"}.get(token, token.rpartition(":")[2])
        return f"projects/{self._project(inputs)}/{kind}/{inputs.get('name', name)}"

    def outputs(self, token: str, name: str, inputs: Plain) -> Plain:
        """The computed outputs that programs use."""
        project, own = self._project(inputs), str(inputs.get("name", name))
        match token.rpartition(":")[2]:
            case "Cluster":
                host = f"gke-{own}.{inputs.get('location')}.gke.goog"
                # An input that the service completes is given back whole.
                endpoint = {"allowExternalTraffic": True, "endpoint": host}
                return {"controlPlaneEndpointsConfig": {"dnsEndpointConfig": endpoint}}
            case "DatabaseInstance":
                return {"privateIpAddress": "10.9.8.7", "connectionName": f"{project}:{own}"}
            case "Account":
                email = f"{inputs.get('accountId')}@{project}.iam.gserviceaccount.com"
                return {
                    "email": email,
                    "member": f"serviceAccount:{email}",
                    "name": f"projects/{project}/{email}",
                }
            case "ServiceIdentity":
                return {"member": f"serviceAccount:service-1@gcp-sa-{inputs.get('service')}"}
            case "IAMCustomRole":
                return {"name": f"projects/{project}/roles/{inputs.get('roleId')}"}
            case "Service" if "cloudrunv2" in token:
                return {"uri": f"https://{own}-run.a.run.app"}
            case "SecretVersion":
                return {"version": "1"}
            case "UptimeCheckConfig":
                return {"uptimeCheckId": f"{name}-id"}
            case "NotificationChannel":
                return {"name": f"projects/{project}/notificationChannels/{name}"}
            case _:
                return {}

    def make(self, token: str, identity: str, inputs: Plain, old: Plain | None) -> None:
        """Refuse what Google would; make topics and subscriptions where a server is named."""
        folder = Path(os.environ["MLOPS_STANDIN_GCP"])
        if token == SERVICE:
            _enable(folder, str(inputs["service"]), self._project(inputs))
            return
        _require_enabled(folder, token, self._project(inputs))
        for key in ("region", "location"):
            region = str(inputs.get(key) or REGIONS[0]).lower()
            if region not in REGIONS:
                raise Refused(
                    f"googleapi: Error 400: Invalid value for field '{key}': '{region}'. Unknown {key}., invalid"
                )
        if (
            token in (TOPIC, SUBSCRIPTION)
            and old is None
            and (host := os.environ.get("PUBSUB_EMULATOR_HOST"))
        ):
            _pubsub("make", host, token, identity, inputs)

    def remove(self, token: str, identity: str, inputs: Plain) -> None:
        """Refuse what is protected; remove topics and subscriptions."""
        if inputs.get("deletionProtection") is True:
            raise Refused(
                f"googleapi: Error 400: {identity} is protected against deletion., failedPrecondition"
            )
        if token in (TOPIC, SUBSCRIPTION) and (host := os.environ.get("PUBSUB_EMULATOR_HOST")):
            _pubsub("remove", host, token, identity, {})

    def _project(self, inputs: Plain) -> str:
        return str(inputs.get("project") or self.config.get("project") or "no-project")


def _pubsub(what: str, host: str, token: str, identity: str, inputs: Plain) -> None:
    command = [sys.executable, "-P", "-m", "tests.standins.gcp.pubsub", what, host, token, identity]
    done = subprocess.run([*command, json.dumps(inputs)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Refused(done.stderr.strip())


def _enable(folder: Path, service: str, project: str) -> None:
    api = service.removesuffix(".googleapis.com")
    if api in _lines(folder / "refused"):
        raise Refused(
            f"googleapi: Error 400: Billing account for project '{project}' is not found. Billing must be enabled for"
            f" activation of service '{service}' to proceed., failedPrecondition"
        )
    with (folder / "apis").open("a", encoding="utf-8") as stream:
        stream.write(f"{api}\n")


def _require_enabled(folder: Path, token: str, project: str) -> None:
    api = APIS.get(token.split(":")[1].split("/")[0])
    if api is not None and api not in _lines(folder / "apis"):
        raise Refused(
            f"googleapi: Error 403: {api}.googleapis.com has not been used in project {project} before or it is"
            f" disabled. Enable it by visiting https://console.developers.google.com/apis/api/{api}.googleapis.com"
            f"/overview?project={project} then retry., accessNotConfigured"
        )


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").split() if path.exists() else []
