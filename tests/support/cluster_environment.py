"""The whole product on a real cluster: a clone of this checkout, its own images, and an environment `stg`.

`mlops` is run as a person runs it. Pulumi's Kubernetes plugin is the stand-in of `tests/standins`.
"""

import os
import re
import secrets
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from mlops_sdk.cluster.api import ApiServer
from tests.support.clone import Clone, make_clone
from tests.support.cluster import RealCluster
from tests.support.cluster_program import STANDIN
from tools.clone import ROOT, git
from tools.cluster.node import GATEWAY_CLASS
from tools.cluster.project_images import build, checked_out, export

IMAGE_TARGETS = ("service", "job")


@dataclass(frozen=True)
class ClusterEnvironment:
    """The environment `stg` of a clone, in `namespace` of a real cluster."""

    clone: Clone
    cluster: RealCluster
    namespace: str

    @property
    def folder(self) -> Path:
        """The environment's folder on this machine."""
        return self.clone.root / ".mlops" / "stg"

    def api(self) -> ApiServer:
        """The namespace at the API server."""
        return ApiServer(self.cluster.access, self.namespace)

    def run(self, *arguments: str, code: int = 0) -> str:
        """Run `mlops ARGUMENTS`; return all that it prints."""
        done = self.clone.run(*arguments, code=code, timeout_s=600)
        return done.stdout + done.stderr

    def inside(self, *command: str) -> str:
        """Run a command of the clone with the variables of an operator, by forwards."""
        layers = 'set -a; . ".mlops/stg/env/operator.env"; exec "$@"'
        python = str(self.clone.root / ".venv" / "bin" / "python")
        arguments = [python if word == "python" else word for word in command]
        return self.run("forward", "stg", "--", "bash", "-c", layers, "bash", *arguments)

    def ask(self, path: str, **headers: str) -> httpx.Response:
        """One request of a user, by the Gateway."""
        with self.client() as client:
            return client.get(path, headers=headers)

    def client(self) -> httpx.Client:
        """A client of the Gateway."""
        host = {"Host": f"{self.namespace}.test"}
        return httpx.Client(base_url=self.cluster.gateway, headers=host, trust_env=False, timeout=20)

    def json(self, *arguments: str) -> Any:
        """What `mlops ARGUMENTS -o json` prints."""
        return self.clone.json(*arguments)


@pytest.fixture(scope="session")
def project_images(real_cluster: RealCluster) -> dict[str, str]:
    """This checkout's images by target, on the node. Packages are one layer, made once for each lock."""
    if real_cluster.node is None:
        given = dict(
            pair.split("=", 1) for pair in os.environ.get("MLOPS_TEST_IMAGES", "").split(",") if pair
        )
        if set(given) < set(IMAGE_TARGETS):
            pytest.skip("no images: set MLOPS_TEST_IMAGES=service=REF,job=REF for the given cluster")
        return given
    commit = git(ROOT, "rev-parse", "HEAD")
    found: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="mlops-images-") as folder:
        source = checked_out(ROOT, commit, Path(folder, "source"))
        for target in IMAGE_TARGETS:
            found[target] = build(source, commit, target, print)
            real_cluster.node.import_image(export(found[target], Path(folder, "image.tar")))
    return found


@contextmanager
def cluster_environment(
    folder: Path, cluster: RealCluster, images: dict[str, str]
) -> Iterator[ClusterEnvironment]:
    """A clone with an environment `stg` whose stack config names the cluster; destroyed at the end."""
    clone = make_clone(folder)
    made = ClusterEnvironment(clone, cluster, f"stg-{secrets.token_hex(3)}")
    _configure(made, images)
    try:
        yield made
    finally:
        clone.shell_of("stg", "pulumi destroy --yes --skip-preview --stack stg --non-interactive")


def _configure(made: ClusterEnvironment, images: dict[str, str]) -> None:
    root = made.clone.root
    project = root / "pyproject.toml"
    text = project.read_text(encoding="utf-8")
    text = re.sub(r"(?m)^environments = .*", 'environments = ["stg", "prd"]', text)
    project.write_text(text, encoding="utf-8")
    program = root / "Pulumi.yaml"
    text = program.read_text(encoding="utf-8")
    text = text.replace("  providers:\n", f"  providers:\n    - name: kubernetes\n      path: {STANDIN}\n")
    program.write_text(text, encoding="utf-8")
    (root / "stacks" / "Pulumi.stg.yaml").write_text(
        "config:\n"
        "  mlops-sdk:kind: kubernetes\n"
        f"  mlops-sdk:kubeconfig: {made.cluster.kubeconfig}\n"
        f"  mlops-sdk:context: {made.cluster.access.context}\n"
        f"  mlops-sdk:namespace: {made.namespace}\n"
        f"  mlops-sdk:images: {{service: '{images['service']}', job: '{images['job']}'}}\n"
        "  mlops-sdk:quota: {cpu: '8', memory: 16Gi, storage: 20Gi, pods: 40}\n"
        "  mlops-sdk:service: {replicas: 1, maxReplicas: 1, cpu: 50m, memory: 384Mi, limitMemory: 1Gi}\n"
        f"  mlops-sdk:gatewayClass: {GATEWAY_CLASS}\n"
        f"  mlops-sdk:gatewayPort: {made.cluster.gateway_port}\n"
        f"  mlops-sdk:host: {made.namespace}.test\n"
        "  mlops-sdk:databaseSize: 1Gi\n"
        "  mlops-sdk:artifactSize: 1Gi\n"
        "  mlops-sdk:backup: {schedule: '0 3 * * *', keepDays: 7, size: 1Gi}\n",
        encoding="utf-8",
    )
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "-m", "An environment on the node")


def train(made: ClusterEnvironment) -> None:
    """Films into the source database, and the recommender's models into the registry."""
    made.inside("python", "-m", "pipelines.recommender.source")
    made.inside("python", "-c", "from pipelines.recommender.flow import train_models; train_models()")


def kubectl_json(made: ClusterEnvironment, *arguments: str) -> str:
    """What kubectl prints of the namespace."""
    command = ["kubectl", "--kubeconfig", str(made.cluster.kubeconfig), "-n", made.namespace, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
