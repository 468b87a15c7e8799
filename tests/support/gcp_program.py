"""The real program and stack file of `prd` in a project of its own, under the real engine, with stand-in plugins."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from mlops_sdk.stack import config
from mlops_sdk.stack.config import ReleaseSection
from tests.support.engine_run import run_engine

ROOT = Path(__file__).resolve().parents[2]
STANDINS = ROOT / "tests" / "standins"
PLUGINS = {
    "gcp": STANDINS / "gcp",
    # No cluster answers at the address that the stand-in gives, and no Postgres behind Cloud SQL's.
    "kubernetes": STANDINS / "echo" / "kubernetes",
    "mlops": STANDINS / "echo" / "mlops",
}
MASTER_KEY = "A" * 43


@dataclass(frozen=True)
class GcpProgram:
    """A project in `root`. `environ` are variables for the engine and its plugins."""

    root: Path
    environ: Mapping[str, str] = field(default_factory=dict)

    def make(self) -> "GcpProgram":
        """Copy the program and the stack file; a passphrase stands in for the key in Cloud KMS."""
        for name in ("infra", "mlops_sdk"):
            shutil.copytree(ROOT / name, self.root / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("stacks", "state", "cloud"):
            (self.root / name).mkdir()
        shutil.copy(ROOT / "pyproject.toml", self.root)
        document = YAML().load((ROOT / "Pulumi.yaml").read_text(encoding="utf-8"))
        document["plugins"] = {
            "providers": [{"name": name, "path": str(path)} for name, path in PLUGINS.items()]
        }
        self._write(self.root / "Pulumi.yaml", document)
        stack = YAML().load((ROOT / "stacks" / "Pulumi.prd.yaml").read_text(encoding="utf-8"))
        stack.pop("secretsprovider")
        self._write(self.config_file, stack)
        self.run("stack", "init", "prd")
        self.run("config", "set", "--stack", "prd", "--secret", "mlops-sdk:masterKey", MASTER_KEY)
        return self

    @property
    def config_file(self) -> Path:
        """The stack file."""
        return self.root / "stacks" / "Pulumi.prd.yaml"

    def set(self, **values: Any) -> None:
        """Set keys of the stack file; None takes one out."""
        document = YAML().load(self.config_file.read_text(encoding="utf-8"))
        for name, value in values.items():
            document["config"].pop(f"{config.PROJECT}:{name}", None)
            if value is not None:
                document["config"][f"{config.PROJECT}:{name}"] = value
        self._write(self.config_file, document)

    def release(self, *sections: ReleaseSection, live: int) -> None:
        """Render the release part."""
        document = YAML().load(self.config_file.read_text(encoding="utf-8"))
        digest = next(one.digest for one in sections if one.seq == live)
        self._write(self.config_file, config.render(document, sections, live=digest, basis=None))

    def refuse(self, *apis: str) -> None:
        """The APIs that Google will not enable; none: all can be."""
        (self.root / "cloud" / "refused").write_text("\n".join(apis), encoding="utf-8")

    def run(self, *arguments: str, fails: bool = False) -> str:
        """Run the engine; return what it prints. `fails` says whether it must."""
        environ = {
            "PYTHONPATH": str(self.root),
            "MLOPS_STANDIN_GCP": str(self.root / "cloud"),
            **self.environ,
        }
        return run_engine(self.root, *arguments, environ=environ, timeout_s=600, fails=fails)

    def preview(self, *options: str, **how: Any) -> str:
        """What would change."""
        return self.run("preview", "--stack", "prd", *options, **how)

    def up(self, **how: Any) -> str:
        """Make it so."""
        return self.run("up", "--stack", "prd", "--yes", "--skip-preview", **how)

    def destroy(self, **how: Any) -> str:
        """Remove everything."""
        return self.run("destroy", "--stack", "prd", "--yes", "--skip-preview", **how)

    def resources(self) -> dict[str, dict[str, Any]]:
        """The state's resources by type and name, secrets encrypted."""
        found = json.loads(self.run("stack", "export", "--stack", "prd"))["deployment"].get("resources", [])
        return {"::".join(one["urn"].split("::")[2:]): one for one in found}

    def _write(self, path: Path, document: Any) -> None:
        with path.open("w", encoding="utf-8") as stream:
            YAML().dump(document, stream)
