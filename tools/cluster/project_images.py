"""The project's own images from its Dockerfile, as archives that a node imports; no registry is asked for one.

Packages come from the machine's own index with the machine's settings of pip, which are mounted, never copied in.
Must not decide what an image holds: the Dockerfile does.
"""

import hashlib
import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from mlops_sdk.errors import MlopsError
from tools.cluster.base_image import buildah, ensure_base

TARGETS = ("service", "job", "invoker")
REPOSITORY = "docker.io/mlops/recommender"
"""A full name, as containerd wants it. Nothing is at that address: a node gets the images by import."""

_CERTIFICATES = Path("/etc/ssl/certs")

Report = Callable[[str], None]


def reference(target: str, commit: str) -> str:
    """The name of an image in tests."""
    return f"{REPOSITORY}/{target}:{commit}"


def build(
    checkout: Path,
    commit: str,
    target: str,
    report: Report,
    environ: Mapping[str, str] = os.environ,
    *,
    dockerfile: Path | None = None,
) -> str:
    """Build one target of the Dockerfile of `checkout`; return the image's name in buildah's store.

    The first build installs every package of requirements/image.txt (some minutes); later ones take its layer.
    Raises MlopsError with the builder's last lines.
    """
    base = ensure_base(report, environ)
    name = reference(target, commit)
    report(f"Building the image {name}")
    command = ["bud", "--isolation", "chroot", "--pull-never", "--layers", "--target", target]
    command += ["--build-arg", f"PYTHON_IMAGE={base}", "--build-arg", f"COMMIT={commit}"]
    for mount in _mounts(environ):
        command += ["--volume", f"{mount}:{mount}:ro"]
    command += ["--file", str(dockerfile or checkout / "Dockerfile"), "--tag", name, str(checkout)]
    buildah(*command, environ=environ)
    return name


def export(names: Mapping[str, str], archive: Path, environ: Mapping[str, str] = os.environ) -> Path:
    """Write images of buildah's store as one OCI archive, each under the name that it is mapped to; the archive.

    Layers that they share are read and written once, uncompressed: buildah's own `oci:` compresses them for each image,
    which takes minutes. Format: https://github.com/opencontainers/image-spec/blob/main/image-layout.md
    Raises MlopsError.
    """
    archive.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(dir=archive.parent) as scratch:
        layout, pushed = Path(scratch, "layout"), Path(scratch, "pushed")
        blobs = layout / "blobs" / "sha256"
        blobs.mkdir(parents=True)
        manifests = []
        for image, name in names.items():
            found = json.loads(buildah("inspect", "--type", "image", image, environ=environ))
            layers = [one["digest"].partition(":")[2] for one in json.loads(found["Manifest"])["layers"]]
            if not all((blobs / layer).exists() for layer in layers):
                where = f"dir:{pushed}"
                buildah("push", "--quiet", "--disable-compression", image, where, environ=environ)
                for layer in layers:
                    (pushed / layer).rename(blobs / layer)
            for text in (found["Config"], found["Manifest"]):
                (blobs / _sha256(text)).write_text(text, encoding="utf-8")
            manifests.append(
                {
                    "mediaType": "application/vnd.oci.image.manifest.v1+json",
                    "digest": f"sha256:{_sha256(found['Manifest'])}",
                    "size": len(found["Manifest"].encode()),
                    "annotations": {"org.opencontainers.image.ref.name": name},
                }
            )
        (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}', encoding="utf-8")
        index = {"schemaVersion": 2, "manifests": manifests}
        (layout / "index.json").write_text(json.dumps(index), encoding="utf-8")
        subprocess.run(["tar", "-c", "-f", str(archive), "-C", str(layout), "."], check=True, timeout=300)
    return archive


def checked_out(repository: Path, commit: str, folder: Path) -> Path:
    """The files of `commit` in the new folder `folder`: an image holds what is committed and nothing else."""
    folder.mkdir(parents=True)
    archive = ["git", "-C", str(repository), "archive", "--format=tar", commit]
    done = subprocess.run(archive, capture_output=True, check=False, timeout=60)
    if done.returncode:
        raise MlopsError(f"git archive of {commit} failed: {done.stderr.decode().strip()}")
    subprocess.run(["tar", "-x", "-C", str(folder)], input=done.stdout, check=True, timeout=60)
    return folder


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _mounts(environ: Mapping[str, str]) -> list[Path]:
    """What pip needs of this machine: certificates, its settings, a folder of wheels where there is one."""
    found = [_CERTIFICATES, Path(environ.get("PIP_CONFIG_FILE", "/etc/pip.conf"))]
    found += [Path(part) for part in environ.get("PIP_FIND_LINKS", "").split() if part.startswith("/")]
    return [path for path in found if path.exists()]
