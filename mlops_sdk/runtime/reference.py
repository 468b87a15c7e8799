"""The reference page of the runtime environment, rendered from the table of keys.

`python -m mlops_sdk.runtime.reference` prints it; docs/reference/environment.md is its output.
"""

import sys

from mlops_sdk.runtime.keys import LAYERS, Key, of_layer

_HEAD = """\
# The runtime environment

Rendered from `mlops_sdk/runtime/keys.py` by `python -m mlops_sdk.runtime.reference`; change it there.

Services, flows, the processes of their runs, builds and the provider read these variables and no others.
A release's service gets the layer *environment*, then *release*; a build gets *environment*, then *build*.
On kind local they are `.env` files (0600) in `.mlops/ENV/env/`: `environment.env`, `operator.env`,
`release-DIGEST12.env`, `build-FINGERPRINT.env`. `set -a; . FILE` reads one in a shell.

A variable of the process environment wins over a file. A missing one is an error that names the key, the
environment and where the value comes from. An empty value counts as missing. Secrets are in no log, process
argument or exception.
"""


def render() -> str:
    """The page as Markdown."""
    parts = [_HEAD]
    for layer, meaning in LAYERS.items():
        parts.append(f"\n## Layer {layer}\n\n{meaning[0].upper()}{meaning[1:]}.\n\n")
        parts.append(
            "| variable | in code | type | what it is | where it comes from |\n|---|---|---|---|---|\n"
        )
        parts.extend(_row(key) for key in of_layer(layer))
    return "".join(parts)


def _row(key: Key) -> str:
    notes: list[str] = [key.type]
    if key.secret:
        notes.append("secret")
    if not key.required:
        notes.append("optional")
    return f"| `{key.name}` | `{key.field}` | {', '.join(notes)} | {key.doc} | {key.source} |\n"


if __name__ == "__main__":
    sys.stdout.write(render())
