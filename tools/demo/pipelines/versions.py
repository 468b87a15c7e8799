"""Which versions of a model the environment's registry has, and what is said of them."""

from mlops_sdk.registry.trained import asking
from tools.demo.pipelines.stage import Stage


def versions(stage: Stage, model: str) -> list[int]:
    """The numbers, ascending. Raises UnreachableError."""
    with asking(stage.settings["MLFLOW_TRACKING_URI"]) as client:
        return sorted(int(found.version) for found in client.search_model_versions(f"name='{model}'"))


def said_of(stage: Stage, model: str, version: int) -> str:
    """The verdict with which a version was registered. Raises UnreachableError."""
    with asking(stage.settings["MLFLOW_TRACKING_URI"]) as client:
        return str(client.get_model_version(model, str(version)).description or "")
