"""The kubeconfig of a given cluster: which file it is, and whether it has the context. Reads it, asks no cluster."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from mlops_sdk.errors import InputError, NotFoundError


def path_of(written: str | None, root: Path, environ: Mapping[str, str] = os.environ) -> Path:
    """The file that stack config names (relative to the project), else KUBECONFIG's first, else kubectl's own."""
    if written:
        return root / Path(written).expanduser()
    named = environ.get("KUBECONFIG", "").split(os.pathsep)[0]
    return Path(named) if named else Path.home() / ".kube" / "config"


def require_context(path: Path, context: str, environment: str) -> None:
    """Raises NotFoundError where there is no such file, InputError where it lacks the context."""
    where = f"kubeconfig {path}"
    try:
        document = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NotFoundError(
            "there is no such file",
            where=where,
            remedy=f"`pulumi config set -s {environment} mlops-sdk:kubeconfig PATH`, or set KUBECONFIG",
        ) from None
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=where) from error
    except YAMLError:
        # `from None`: the original error quotes the file, which has credentials.
        raise InputError("is no YAML", where=where) from None
    found = _contexts(document)
    if context not in found:
        raise InputError(
            f"has no context {context!r}; it has: {', '.join(found) or 'none'}",
            where=where,
            remedy=f"`pulumi config set -s {environment} mlops-sdk:context NAME`",
        )


def _contexts(document: Any) -> list[str]:
    contexts = document.get("contexts") if isinstance(document, dict) else None
    return [str(one["name"]) for one in contexts or [] if isinstance(one, dict) and "name" in one]
