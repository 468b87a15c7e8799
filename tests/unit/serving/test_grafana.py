"""The Grafana dashboard asks for metrics that the model server has, by labels that they have."""

import json
import re
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from mlops_sdk.serving.drift.metrics import DriftMetrics
from mlops_sdk.serving.slots.metrics import SlotMetrics
from mlops_sdk.serving.template.extension import log_metrics

FILE = Path(__file__).parents[3] / "docs" / "grafana" / "model-server.json"


def known() -> dict[str, set[str]]:
    """The names of samples, each with its labels."""
    slots = SlotMetrics()
    lane = slots.lane("current", "iris", 1)
    lane.answered(200, [0.001])
    DriftMetrics(slots.registry)
    log_metrics(slots.registry)
    return {**described(slots.registry), **drift_labels()}


def described(registry: CollectorRegistry) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for family in registry.collect():
        names = {family.name, f"{family.name}_total"} if family.type == "counter" else {family.name}
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
        for name in names:
            found.setdefault(name, set())
    # Families that have counted nothing yet have no samples, but labels.
    for collector in registry._collector_to_names:
        labels = getattr(collector, "_labelnames", ())
        for name in registry._collector_to_names[collector]:
            found.setdefault(name, set()).update(labels)
    return found


def drift_labels() -> dict[str, set[str]]:
    registry = CollectorRegistry()
    DriftMetrics(registry)
    return described(registry)


def expressions(panels: list[dict[str, Any]]) -> list[str]:
    return [target["expr"] for panel in panels for target in panel.get("targets", [])]


def test_each_expression_names_metrics_and_labels_that_there_are() -> None:
    dashboard = json.loads(FILE.read_text())
    metrics = known()
    asked = set()
    for expression in expressions(dashboard["panels"]):
        names = set(re.findall(r"\bmlops_[a-z_]+", expression))
        assert names, expression
        assert names <= set(metrics), expression
        asked |= names
        allowed = set().union(*(metrics[name] for name in names))
        by = {
            label.strip() for part in re.findall(r"by \(([^)]*)\)", expression) for label in part.split(",")
        }
        chosen = set(re.findall(r"(\w+)=~", expression))
        assert by | chosen <= allowed | {"le"}, expression
    shown = {name for name in asked if name.startswith("mlops_drift")}
    assert shown == {name for name in drift_labels() if not name.endswith("_created")} - {
        "mlops_drift_checks",
        "mlops_drift_told",
    }


def test_panels_do_not_lie_on_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in json.loads(FILE.read_text())["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
