"""Starts and stops one Kubernetes node: control plane, kubelet, network, DNS and a Gateway controller as processes.

Everything listens on 127.0.0.1 or on the bridge's own address, which no other machine reaches. One node a machine.
Every process is ended by its pid, and nothing is left behind. Must not know what is deployed on it.
"""

import contextlib
import json
import os
import secrets
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
from ruamel.yaml import YAML

from mlops_sdk.errors import DeadlineError, MlopsError
from tools.cluster.archive import write_image
from tools.cluster.binaries import Binaries

BRIDGE = "cni0"
ADDRESS = "10.244.0.1"
"""The node's own address on the bridge of its pods. The templates name it too."""

# Below the ports that the kernel gives to clients: one of those may be any client's at the moment a server begins.
API = f"https://{ADDRESS}:16443"
ETCD = "http://127.0.0.1:13790"
GATEWAY_PORT = 16080
GATEWAY_CONTROLLER = "traefik.io/gateway-controller"
GATEWAY_CLASS = "traefik"
STORAGE_CLASS = "standard"
NODE_NAME = "n1"
PAUSE_IMAGE = "docker.io/local/pause:1"

_TEMPLATES = Path(__file__).parent / "templates"
_READY_S = 90.0
_STOP_S = 15.0
_DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_GATEWAY_API = "/apis/gateway.networking.k8s.io/v1"
_GATEWAY_KINDS = ("gatewayclasses", "gateways", "httproutes")
_VOLUMES = Path("/tmp/hostpath_pv")  # noqa: S108 - where the controller manager makes volumes, and nowhere else
_STORAGE = {
    "apiVersion": "storage.k8s.io/v1",
    "kind": "StorageClass",
    "metadata": {
        "name": STORAGE_CLASS,
        "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
    },
    "provisioner": "kubernetes.io/host-path",
}
# What is ended first asks the next one for nothing; the API server and etcd outlive what writes to them.
_STOP_ORDER = (
    "traefik",
    "kubelet",
    "kube-proxy",
    "coredns",
    "volumes",
    "kube-scheduler",
    "kube-controller-manager",
)
_STOP_LAST = ("containerd", "kube-apiserver", "etcd")

Report = Callable[[str], None]


@dataclass(frozen=True)
class Node:
    """A node whose files are in `state`; a token of its own for each start."""

    state: Path
    binaries: Binaries
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)

    @property
    def kubeconfig(self) -> Path:
        """Path of the kubeconfig with every right."""
        return self.state / "cfg" / "kubeconfig"

    @property
    def certificate(self) -> Path:
        """The API server's own certificate, which is its authority too."""
        return self.state / "pki" / "apiserver.crt"

    def start(self) -> None:
        """Return when the node is Ready. Raises MlopsError with the last lines of what did not come up."""
        self._write_files()
        _make_bridge()
        self._start_control_plane()
        self._start_node()
        self._await_node()
        self.apply(f"/apis/storage.k8s.io/v1/storageclasses/{STORAGE_CLASS}", _STORAGE)

    def start_gateway(self) -> None:
        """Install the Gateway API's definitions and run Traefik, on 127.0.0.1:GATEWAY_PORT.

        Returns when it listens. Raises DeadlineError with its last lines when it does not.
        """
        for path in sorted(self.binaries.crds.glob("*.yaml")):
            for document in YAML(typ="safe").load_all(path.read_text(encoding="utf-8")):
                self.apply(f"{_DEFINITIONS}/{document['metadata']['name']}", document)
        # Traefik looks for routes as soon as it runs, so they have to be there to be asked for.
        self._await("the Gateway API", self._has_gateway_api, "kube-apiserver")
        self._spawn(
            "traefik",
            f"--entrypoints.web.address=127.0.0.1:{GATEWAY_PORT}",
            "--providers.kubernetesgateway=true",
            f"--providers.kubernetesgateway.endpoint={API}",
            f"--providers.kubernetesgateway.token={self.token}",
            f"--providers.kubernetesgateway.certauthfilepath={self.certificate}",
            "--global.checknewversion=false",
            "--global.sendanonymoususage=false",
        )
        self.apply(
            f"{_GATEWAY_API}/gatewayclasses/{GATEWAY_CLASS}",
            {
                "apiVersion": "gateway.networking.k8s.io/v1",
                "kind": "GatewayClass",
                "metadata": {"name": GATEWAY_CLASS},
                "spec": {"controllerName": GATEWAY_CONTROLLER},
            },
        )
        self._await("Traefik", _listens, "traefik")

    def import_image(self, archive: Path) -> None:
        """Give the node an image from an OCI archive. Raises MlopsError with containerd's words."""
        _run([*self._ctr(), "images", "import", str(archive)])

    def stop(self) -> None:
        """End every process and remove what they made: mounts, network namespaces, rules, the bridge."""
        for name in _STOP_ORDER:
            self._end(name)
        self._end_containers()
        for name in _STOP_LAST:
            self._end(name)
        _unmount_below(self.state)
        _remove_network()
        for name in ("cd", "etcd", "kl", "pki"):
            shutil.rmtree(self.state / name, ignore_errors=True)
        shutil.rmtree(_VOLUMES, ignore_errors=True)

    def _write_files(self) -> None:
        for folder in ("log", "cfg", "pki", "cd/cni"):
            (self.state / folder).mkdir(parents=True, exist_ok=True)
        for template in _TEMPLATES.iterdir():
            text = template.read_text(encoding="utf-8")
            text = text.replace("@STATE@", str(self.state)).replace("@TOKEN@", self.token)
            place = "cd/cni" if template.suffix == ".conflist" else "cfg"
            _write_private(self.state / place / template.name, text)
        _write_private(self.state / "tokens.csv", f'{self.token},admin,admin,"system:masters"\n')
        if not (self.state / "sa.key").exists():
            _run(["openssl", "genrsa", "-out", str(self.state / "sa.key"), "2048"])

    def _start_control_plane(self) -> None:
        key, tokens = self.state / "sa.key", self.state / "tokens.csv"
        self._spawn(
            "etcd",
            f"--data-dir={self.state / 'etcd'}",
            "--unsafe-no-fsync",
            f"--listen-client-urls={ETCD}",
            f"--advertise-client-urls={ETCD}",
            "--listen-peer-urls=http://127.0.0.1:0",
        )
        self._spawn(
            "kube-apiserver",
            f"--etcd-servers={ETCD}",
            f"--bind-address={ADDRESS}",
            f"--advertise-address={ADDRESS}",
            "--secure-port=16443",
            f"--cert-dir={self.state / 'pki'}",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            f"--token-auth-file={tokens}",
            "--authorization-mode=RBAC",
            "--allow-privileged=true",
            "--kubelet-preferred-address-types=InternalIP",
        )
        self._await("the API server", self._is_api_ready, "kube-apiserver")
        self._spawn(
            "kube-controller-manager",
            f"--kubeconfig={self.kubeconfig}",
            "--authentication-kubeconfig=",
            "--use-service-account-credentials=false",
            f"--service-account-private-key-file={key}",
            f"--root-ca-file={self.certificate}",
            "--leader-elect=false",
            "--secure-port=0",
            "--cluster-cidr=10.244.0.0/16",
            "--enable-hostpath-provisioner=true",
        )
        self._spawn("volumes", "-m", "tools.cluster.volumes", str(_VOLUMES), program=sys.executable)
        self._spawn(
            "kube-scheduler", f"--kubeconfig={self.kubeconfig}", "--leader-elect=false", "--secure-port=0"
        )

    def _start_node(self) -> None:
        config = self.state / "cfg"
        self._spawn("containerd", "--config", str(config / "containerd.toml"), program="containerd")
        socket = self.state / "cd" / "c.sock"
        self._await("containerd", socket.exists, "containerd")
        self._import_pause()
        self._spawn(
            "kubelet",
            f"--config={config / 'kubelet.yaml'}",
            f"--kubeconfig={self.kubeconfig}",
            f"--hostname-override={NODE_NAME}",
            f"--node-ip={ADDRESS}",
            f"--root-dir={self.state / 'kl'}",
            f"--cert-dir={self.state / 'kl' / 'pki'}",
        )
        self._spawn("kube-proxy", f"--config={config / 'kube-proxy.yaml'}")
        self._spawn("coredns", "-conf", str(config / "Corefile"))

    def _import_pause(self) -> None:
        """The container that holds a pod's network open: a static busybox that sleeps."""
        busybox = shutil.which("busybox")
        if busybox is None:
            raise MlopsError("busybox is missing", remedy="apt-get install busybox-static")
        with tempfile.TemporaryDirectory(dir=self.state) as scratch:
            root = Path(scratch, "root")
            (root / "bin").mkdir(parents=True)
            shutil.copy(busybox, root / "bin" / "busybox")
            archive = Path(scratch, "pause.tar")
            write_image(archive, PAUSE_IMAGE, root, ["/bin/busybox", "sleep", "2147483647"])
            self._await("containerd's image store", lambda: self._imported(archive), "containerd")

    def _imported(self, archive: Path) -> bool:
        try:
            self.import_image(archive)
        except MlopsError:
            return False
        return True

    def _spawn(self, name: str, *arguments: str, program: str | None = None) -> None:
        command = [program or self.binaries.program(name), *arguments]
        with (self.state / "log" / f"{name}.log").open("ab") as log:
            child = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        (self.state / "log" / f"{name}.pid").write_text(str(child.pid), encoding="utf-8")

    def _await(self, what: str, is_there: Callable[[], bool], name: str) -> None:
        deadline = time.monotonic() + _READY_S
        while not is_there():
            if time.monotonic() > deadline:
                log = (self.state / "log" / f"{name}.log").read_text(encoding="utf-8", errors="replace")
                last = "\n  ".join(log.strip().splitlines()[-10:])
                raise DeadlineError(f"{what} was not ready after {_READY_S:.0f} s:\n  {last}")
            time.sleep(0.1)

    def _is_api_ready(self) -> bool:
        try:
            return self._ask("/readyz").status_code == 200
        except (httpx.HTTPError, OSError):
            return False

    def _await_node(self) -> None:
        def is_ready() -> bool:
            answer = self._ask(f"/api/v1/nodes/{NODE_NAME}")
            if answer.status_code != 200:
                return False  # the kubelet has not registered it yet
            conditions = answer.json().get("status", {}).get("conditions", [])
            return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)

        self._await("the node", is_ready, "kubelet")
        self._await("the namespaces' service account", self._has_account, "kube-controller-manager")

    def _has_account(self) -> bool:
        return self._ask("/api/v1/namespaces/default/serviceaccounts/default").status_code == 200

    def apply(self, path: str, document: dict[str, Any]) -> None:
        """Server-side apply of one object at `path`. Raises MlopsError with the API server's words."""
        with self._client() as client:
            answer = client.patch(
                path,
                params={"fieldManager": "tools-cluster", "force": "true"},
                headers={"Content-Type": "application/apply-patch+yaml"},
                content=json.dumps(document),
            )
        if answer.is_error:
            raise MlopsError(f"{path} was refused: {answer.text}", where=API)

    def _has_gateway_api(self) -> bool:
        return all(self._ask(f"{_GATEWAY_API}/{kind}").status_code == 200 for kind in _GATEWAY_KINDS)

    def _ask(self, path: str) -> httpx.Response:
        with self._client() as client:
            return client.get(path)

    def _client(self) -> httpx.Client:
        context = ssl.create_default_context(cafile=str(self.certificate))
        headers = {"Authorization": f"Bearer {self.token}"}
        return httpx.Client(base_url=API, headers=headers, verify=context, trust_env=False, timeout=10)

    def _ctr(self) -> list[str]:
        return ["ctr", "-a", str(self.state / "cd" / "c.sock"), "-n", "k8s.io"]

    def _end_containers(self) -> None:
        if not (self.state / "cd" / "c.sock").exists():
            return
        for task in _lines([*self._ctr(), "tasks", "ls", "-q"]):
            _try([*self._ctr(), "tasks", "rm", "-f", task])
        for container in _lines([*self._ctr(), "containers", "ls", "-q"]):
            _try([*self._ctr(), "containers", "rm", container])

    def _end(self, name: str) -> None:
        path = self.state / "log" / f"{name}.pid"
        if not path.exists():
            return
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(int(path.read_text(encoding="utf-8")))
            process.terminate()
            try:
                process.wait(_STOP_S)
            except psutil.TimeoutExpired:
                process.kill()
                process.wait(_STOP_S)
        path.unlink()


def _listens() -> bool:
    with socket.socket() as asked:
        return asked.connect_ex(("127.0.0.1", GATEWAY_PORT)) == 0


@contextlib.contextmanager
def running(state: Path, binaries: Binaries) -> Iterator[Node]:
    """A node with its Gateway controller for the length of a block."""
    node = Node(state, binaries)
    try:
        node.start()
        node.start_gateway()
        yield node
    finally:
        node.stop()


def _make_bridge() -> None:
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1", encoding="ascii")
    filtered = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
    if filtered.exists():
        filtered.write_text("1", encoding="ascii")
    if not Path("/sys/class/net", BRIDGE).exists():
        _run(["ip", "link", "add", BRIDGE, "type", "bridge"])
        _run(["ip", "addr", "add", f"{ADDRESS}/24", "dev", BRIDGE])
        _run(["ip", "link", "set", BRIDGE, "up"])


def _remove_network() -> None:
    for path in Path("/var/run/netns").glob("cni-*"):
        _try(["umount", str(path)])
        path.unlink(missing_ok=True)
    for family in ("ip", "ip6"):
        _try(["nft", "delete", "table", family, "kube-proxy"])
    _try(["ip", "link", "del", BRIDGE])


def _unmount_below(folder: Path) -> None:
    mounts = Path("/proc/mounts").read_text(encoding="utf-8").splitlines()
    points = [line.split()[1] for line in mounts]
    for point in sorted((p for p in points if Path(p).is_relative_to(folder)), reverse=True):
        _try(["umount", "-l", point])


def _write_private(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


def _run(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    except FileNotFoundError as error:
        raise MlopsError(
            f"{command[0]} is not on this machine", remedy="see docs/how-to/test-on-a-cluster.md"
        ) from error
    if done.returncode:
        raise MlopsError(f"{' '.join(command)} failed: {done.stderr.strip()}")
    return done.stdout


def _try(command: Sequence[str]) -> None:
    """For tidying up: what is gone already is as it should be."""
    subprocess.run(command, capture_output=True, check=False, timeout=60)


def _lines(command: Sequence[str]) -> list[str]:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return done.stdout.split()
