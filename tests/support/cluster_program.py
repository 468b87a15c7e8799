"""A small Pulumi program on pulumi_kubernetes in a project of its own, run by the real engine with the stand-in."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.engine_run import run_engine

STANDIN = Path(__file__).resolve().parents[1] / "standins" / "kubernetes"


@dataclass(frozen=True)
class ClusterProgram:
    """A project in `root` whose program is `code`; `config` are the stack's values."""

    root: Path
    kubeconfig: Path
    config: Mapping[str, str] = field(default_factory=dict)

    def write(self, code: str) -> "ClusterProgram":
        """Make the project, or give it other code."""
        (self.root / "infra").mkdir(parents=True, exist_ok=True)
        (self.root / "state").mkdir(exist_ok=True)
        (self.root / "infra" / "__main__.py").write_text(code, encoding="utf-8")
        plugin = f"plugins: {{providers: [{{name: kubernetes, path: {STANDIN}}}]}}"
        (self.root / "Pulumi.yaml").write_text(
            f"name: shop\nruntime: python\nmain: infra/\n{plugin}\n", encoding="utf-8"
        )
        if not (self.root / "Pulumi.stg.yaml").exists():
            self.run("stack", "init", "stg")
        for name, value in self.config.items():
            self.run("config", "set", "--stack", "stg", name, value)
        return self

    def run(self, *arguments: str, fails: bool = False) -> str:
        """Run the engine; return what it prints. `fails` says whether it must."""
        environ = {"KUBECONFIG": str(self.kubeconfig)}
        return run_engine(self.root, *arguments, environ=environ, timeout_s=240, fails=fails)

    def preview(self, **options: Any) -> str:
        """What would change."""
        return self.run("preview", "--stack", "stg", "--diff", **options)

    def up(self, **options: Any) -> str:
        """Make it so."""
        return self.run("up", "--stack", "stg", "--yes", "--skip-preview", **options)

    def export(self) -> str:
        """The state as the engine keeps it, secrets encrypted."""
        return self.run("stack", "export", "--stack", "stg")

    def resource(self, name: str) -> dict[str, Any]:
        """One resource of the state."""
        resources = json.loads(self.export())["deployment"]["resources"]
        found: dict[str, Any] = next(one for one in resources if one["urn"].endswith(f"::{name}"))
        return found
