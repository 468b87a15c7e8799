"""The whole product on a real cluster: a clone of this checkout, its own images, and an environment `stg`.

`mlops` is run as a person runs it. Pulumi's Kubernetes plugin is the stand-in of `tests/standins`.
"""

import base64
import json
import re
import secrets
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from mlops_sdk.cluster.api import ApiServer
from tests.support.arguments import arguments_seen
from tests.support.clone import Clone, make_clone
from tests.support.cluster import RealCluster
from tests.support.cluster_program import STANDIN
from tools.clone import git
from tools.cluster.node import GATEWAY_CLASS
from tools.cluster.project_images import REPOSITORY, TARGETS, build, checked_out, export, reference

NAMES = """
import os

from mlops_sdk.workload.jobs import Job, Jobs

JOBS = Jobs(Job("names", "pipelines.names:names", time_limit_s=120))


def names(context):
    return {"names": sorted(name for name in os.environ if name.startswith("MLOPS_"))}
"""
"""A job whose result is which variables its process has, and no value."""

PRINTING = """
from datetime import date
import os

from prefect import flow, get_run_logger


@flow(name="print-variables")
def print_variables() -> None:
    for name in sorted(os.environ):
        if name.startswith("MLOPS_"):
            get_run_logger().info("%s is here", name)


@flow(name="ask")
def ask() -> None:
    from mlops_sdk.runtime.settings import ServiceSettings
    from mlops_sdk.workload.orchestrator import orchestrator

    log = get_run_logger().info
    for day, invoker in ((1, False), (2, True)):
        with orchestrator(ServiceSettings.parse(), report=log, invoker=invoker) as orchestra:
            for outcome in orchestra.run("names", [date(2026, 1, day)]):
                log("invoker %s: %s", invoker, outcome.line())
"""
"""A flow that says which variables its pod has, and no value; and one that has a job done, asked for in both ways."""

DECLARED = """shift: {steps: [25, 75], each: {requests: 40}}
jobs: pipelines.names:JOBS
flows:
  printing: {run: "pipelines/printing.py:print_variables", schedule: "0 3 1 1 *"}
  ask: {run: "pipelines/printing.py:ask"}
"""
"""What the second release's manifest has more than the first one's."""


PLANTED = {
    "alerts": f"planted-{secrets.token_hex(12)}",
    "registry": f"planted-{secrets.token_hex(12)}",
}
"""Secrets that a test knows again: of stack config, and of the images' registry."""


@dataclass(frozen=True)
class ClusterEnvironment:
    """An environment of a clone, in `namespace` of a real cluster.

    `printed` is all that commands printed, `arguments` the command lines that processes of the machine had meanwhile.
    """

    clone: Clone
    cluster: RealCluster
    namespace: str
    arguments: set[bytes] = field(default_factory=set)
    printed: list[str] = field(default_factory=list)
    environment: str = "stg"

    @property
    def folder(self) -> Path:
        """The environment's folder on this machine."""
        return self.clone.root / ".mlops" / self.environment

    def api(self) -> ApiServer:
        """The namespace at the API server."""
        return ApiServer(self.cluster.access, self.namespace)

    def run(self, *arguments: str, code: int = 0) -> str:
        """Run `mlops ARGUMENTS`; return all that it prints."""
        done = self.clone.run(*arguments, code=code, timeout_s=600)
        self.printed.append(done.stdout + done.stderr)
        return self.printed[-1]

    def plant(self) -> None:
        """Give stack config a secret of a person's."""
        file = self.clone.root / ".mlops" / "planted"
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"http://relay:1/hooks/{PLANTED['alerts']}", encoding="utf-8")
        command = f".venv/bin/mlops secrets set {self.environment} alertWebhook < {file}"
        self.clone.shell_of(self.environment, command)
        file.unlink()

    def plant_registry(self) -> None:
        """Give the namespace the credentials of the images' registry, as a person does."""
        text = json.dumps({"auths": {REPOSITORY: {"username": "puller", "password": PLANTED["registry"]}}})
        document = {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/dockerconfigjson",
            "metadata": {"name": "registry"},
            "data": {".dockerconfigjson": base64.b64encode(text.encode()).decode()},
        }
        with self.api() as api:
            api.apply("secrets", document)

    def inside(self, *command: str) -> str:
        """Run a command of the clone with the variables of an operator, by forwards."""
        layers = f'set -a; . ".mlops/{self.environment}/env/operator.env"; exec "$@"'
        python = str(self.clone.root / ".venv" / "bin" / "python")
        arguments = [python if word == "python" else word for word in command]
        return self.run("forward", self.environment, "--", "bash", "-c", layers, "bash", *arguments)

    def ask(self, path: str, **headers: str) -> httpx.Response:
        """One request of a user, by the Gateway."""
        with self.client() as client:
            return client.get(path, headers=headers)

    def client(self) -> httpx.Client:
        """A client of the Gateway."""
        host = {"Host": f"{self.namespace}.test"}
        return httpx.Client(base_url=self.cluster.gateway, headers=host, trust_env=False, timeout=20)

    def destroy(self) -> str:
        """Remove everything, as a person does."""
        command = f"pulumi destroy --yes --skip-preview --stack {self.environment} --non-interactive"
        return self.clone.shell_of(self.environment, command, timeout_s=400)

    def json(self, *arguments: str) -> Any:
        """What `mlops ARGUMENTS -o json` prints."""
        return self.clone.json(*arguments)


def project_images(root: Path, cluster: RealCluster) -> None:
    """Build the images of a clone's commit and give them to the node, under the names that releases ask for.

    Packages are one layer, made once for each lock. A given cluster must have the images already.
    """
    if cluster.node is None:
        return
    commit = git(root, "rev-parse", "HEAD")
    with tempfile.TemporaryDirectory(prefix="mlops-images-") as folder:
        source = checked_out(root, commit, Path(folder, "source"))
        names = [build(source, commit, target, print) for target in TARGETS]
        cluster.node.import_image(export({name: name for name in names}, Path(folder, "images.tar")))


@contextmanager
def cluster_environment(folder: Path, cluster: RealCluster) -> Iterator[ClusterEnvironment]:
    """A clone with an environment `stg` whose stack config names the cluster; destroyed at the end."""
    clone = make_clone(folder)
    with arguments_seen() as seen:
        made = ClusterEnvironment(clone, cluster, f"stg-{secrets.token_hex(3)}", seen)
        configure(made)
        project_images(clone.root, cluster)
        try:
            yield made
        finally:
            made.destroy()


def configure(made: ClusterEnvironment) -> None:
    """The clone's project facts, its commit, and the stack config of `stg`."""
    root = made.clone.root
    project = root / "pyproject.toml"
    text = project.read_text(encoding="utf-8")
    facts = f'environments = ["stg", "prd"]\nimage_repository = "{REPOSITORY}"'
    text = re.sub(r"(?m)^environments = .*", facts, text)
    # The fewest that may be kept, so that a third one retires the first.
    text = re.sub(r"(?m)^keep = .*", "keep = 2", text)
    project.write_text(text, encoding="utf-8")
    program = root / "Pulumi.yaml"
    text = program.read_text(encoding="utf-8")
    text = text.replace("  providers:\n", f"  providers:\n    - name: kubernetes\n      path: {STANDIN}\n")
    program.write_text(text, encoding="utf-8")
    (root / "pipelines" / "printing.py").write_text(PRINTING, encoding="utf-8")
    (root / "pipelines" / "names.py").write_text(NAMES, encoding="utf-8")
    with (root / "stacks" / "releases" / "v0.0.2.yaml").open("a", encoding="utf-8") as manifest:
        manifest.write(DECLARED)
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "-m", "A project with an environment on a cluster")
    stack_config(made)


def stack_config(made: ClusterEnvironment, **more: str) -> None:
    """The stack config of an environment that runs the clone's commit; `more` are keys beside the usual ones."""
    commit = git(made.clone.root, "rev-parse", "HEAD")
    keys: dict[str, object] = {
        "kind": "kubernetes",
        "kubeconfig": str(made.cluster.kubeconfig),
        "context": made.cluster.access.context,
        "namespace": made.namespace,
        "images": {target: reference(target, commit) for target in ("service", "job")},
        "imagePullSecret": "registry",
        "quota": {"cpu": "8", "memory": "16Gi", "storage": "20Gi", "pods": 40},
        "service": {"replicas": 1, "maxReplicas": 1, "cpu": "50m", "memory": "384Mi", "limitMemory": "1Gi"},
        "gatewayClass": GATEWAY_CLASS,
        "gatewayPort": made.cluster.gateway_port,
        "host": f"{made.namespace}.test",
        "databaseSize": "1Gi",
        "artifactSize": "1Gi",
        "backup": {"schedule": "0 3 * * *", "keepDays": 7, "size": "1Gi"},
        **more,
    }
    # JSON is YAML, too.
    lines = [f"  mlops-sdk:{key}: {json.dumps(value)}\n" for key, value in keys.items()]
    path = made.clone.root / "stacks" / f"Pulumi.{made.environment}.yaml"
    path.write_text("config:\n" + "".join(lines), encoding="utf-8")


def train(made: ClusterEnvironment) -> None:
    """Films into the source database, and the recommender's models into the registry."""
    made.inside("python", "-m", "pipelines.recommender.source")
    made.inside("python", "-c", "from pipelines.recommender.flow import train_models; train_models()")


def kubectl_json(made: ClusterEnvironment, *arguments: str) -> str:
    """What kubectl prints of the namespace."""
    command = ["kubectl", "--kubeconfig", str(made.cluster.kubeconfig), "-n", made.namespace, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
