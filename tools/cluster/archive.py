"""An OCI image archive of one layer from a folder, without a registry and without a builder.

Source of the form: OCI image layout and image specification 1.1. Must not import it anywhere: `node` does.
"""

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

_MEDIA = "application/vnd.oci.image"


def write_image(
    out: Path,
    name: str,
    root: Path,
    entrypoint: Sequence[str],
    *,
    variables: Mapping[str, str] | None = None,
) -> None:
    """Write the archive `out` with an image called `name` whose files are those of the folder `root`."""
    blobs: dict[str, bytes] = {}
    layer = _packed(root)
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {
            "Entrypoint": list(entrypoint),
            "Env": [f"{key}={value}" for key, value in (variables or {"PATH": "/bin"}).items()],
        },
        "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{_MEDIA}.manifest.v1+json",
        "config": _put(blobs, _json(config), f"{_MEDIA}.config.v1+json"),
        "layers": [_put(blobs, layer, f"{_MEDIA}.layer.v1.tar")],
    }
    entry = _put(blobs, _json(manifest), f"{_MEDIA}.manifest.v1+json")
    entry["annotations"] = {"io.containerd.image.name": name}
    with tarfile.open(out, "w") as archive:
        _add(archive, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        _add(archive, "index.json", _json({"schemaVersion": 2, "manifests": [entry]}))
        for digest, content in blobs.items():
            _add(archive, f"blobs/{digest.replace(':', '/')}", content)


def _packed(root: Path) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.add(root, arcname=".")
    return buffer.getvalue()


def _put(blobs: dict[str, bytes], content: bytes, media_type: str) -> dict[str, object]:
    digest = _digest(content)
    blobs[digest] = content
    return {"mediaType": media_type, "digest": digest, "size": len(content)}


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _json(document: object) -> bytes:
    return json.dumps(document, sort_keys=True).encode()


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    archive.addfile(info, io.BytesIO(content))
