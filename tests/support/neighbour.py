"""A second environment of kind local in a clone: MLflow and Prefect of the first by URL, and a Postgres of its own."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.clone import Clone
from tests.support.postgres import running_server


@contextmanager
def neighbour(clone: Clone, name: str, environments: list[str]) -> Iterator[None]:
    """Have `name` up beside `local`; `environments` is the order in which releases go on. Deleted at the end.

    Commits what the project says of it.
    """
    facts = clone.root / "pyproject.toml"
    listed = ", ".join(f'"{each}"' for each in environments)
    facts.write_text(
        re.sub(r"^environments = \[.*\]$", f"environments = [{listed}]", facts.read_text(), flags=re.M)
    )
    shared = clone.variables()
    (clone.root / "stacks" / f"Pulumi.{name}.example.yaml").write_text(
        "config:\n  mlops-sdk:kind: local\n  mlops-sdk:ports: {}\n"
        f"  mlops-sdk:mlflowUrl: {shared['MLFLOW_TRACKING_URI']}\n"
        f"  mlops-sdk:prefectUrl: {shared['PREFECT_API_URL']}\n"
    )
    clone.git("add", "pyproject.toml", f"stacks/Pulumi.{name}.example.yaml")
    clone.git("commit", "--quiet", "-m", f"An environment {name}")
    with running_server(18) as server:
        try:
            clone.run("stack", "init", name)
            secret = f"postgresql://postgres:{server.password}@127.0.0.1:{server.port}"
            clone.shell(
                f'eval "$(.venv/bin/mlops stack env {name})";'
                f" pulumi config set -s {name} --secret mlops-sdk:postgresUrl {secret}"
            )
            clone.run("up", name)
            yield
        finally:
            clone.run("down", name, "--delete-data", "--yes")
