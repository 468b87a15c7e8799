"""What is made of what in a dbt project: as data, and as a picture. Pure.

The picture has the sources on the left; a model stands right of everything that it reads.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

from mlops_sdk.sql.project import Project

_WIDTH, _HEIGHT, _GAP_X, _GAP_Y, _MARGIN = 190, 34, 70, 22, 16
_FILL = {"source": "#e6f2e6", "model": "#e3ecfa", "ephemeral": "#f4f4f4"}


@dataclass(frozen=True)
class Node:
    """A source's table, a model, or a model that is written into others (`ephemeral`). `path` is the model's file."""

    name: str
    kind: str
    path: str = ""


@dataclass(frozen=True)
class Lineage:
    """Nodes in the order of what is made first, and edges (from, to) between their names."""

    nodes: tuple[Node, ...]
    edges: tuple[tuple[str, str], ...]

    def document(self) -> dict[str, Any]:
        """It as JSON values."""
        return {
            "nodes": [{"name": node.name, "kind": node.kind, "path": node.path} for node in self.nodes],
            "edges": [{"from": start, "to": end} for start, end in self.edges],
        }

    def reads(self, name: str) -> list[str]:
        """What a node is made of."""
        return [start for start, end in self.edges if end == name]


def lineage(project: Project) -> Lineage:
    """The lineage of a project. A model of the release that is read as its table is one node, not two."""
    nodes: dict[str, Node] = {}
    edges: set[tuple[str, str]] = set()
    for name, model in project.models.items():
        path = model.path.relative_to(project.folder).as_posix()
        nodes[name] = Node(name, "ephemeral" if model.ephemeral else "model", path)
    for name, model in project.models.items():
        edges |= {(ref, name) for ref in model.refs}
        for source, table in model.sources:
            start = table if table in project.models else f"{source}.{table}"
            nodes.setdefault(start, Node(start, "source"))
            edges.add((start, name))
    depths = _depths(nodes, edges)
    ordered = sorted(nodes.values(), key=lambda node: (depths[node.name], node.name))
    return Lineage(tuple(ordered), tuple(sorted(edges)))


def draw(found: Lineage) -> str:
    """The picture as SVG."""
    depths = _depths({node.name: node for node in found.nodes}, set(found.edges))
    places = _places(found, depths)
    width = _MARGIN * 2 + max((x for x, _ in places.values()), default=0) + _WIDTH
    height = _MARGIN * 2 + max((y for _, y in places.values()), default=0) + _HEIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        ' font-family="sans-serif" font-size="13">',
        '<defs><marker id="to" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0 0 8 4 0 8z" fill="#777"/></marker></defs>',
        '<rect width="100%" height="100%" fill="#fff"/>',
    ]
    parts += [_arrow(places[start], places[end]) for start, end in found.edges]
    parts += [_box(node, places[node.name]) for node in found.nodes]
    return "\n".join([*parts, "</svg>", ""])


def _depths(nodes: Mapping[str, Node], edges: set[tuple[str, str]]) -> dict[str, int]:
    """How many steps each node is from the left: one more than what it reads. A circle ends where it began."""
    before = {name: [start for start, end in edges if end == name] for name in nodes}
    depths = dict.fromkeys(nodes, 0)
    for _ in nodes:
        deeper = {name: max((depths.get(b, 0) + 1 for b in before[name]), default=0) for name in nodes}
        if deeper == depths:
            break
        depths = deeper
    return depths


def _places(found: Lineage, depths: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    """Left upper corners: columns by depth, in a column by the mean height of what a node reads."""
    places: dict[str, tuple[int, int]] = {}
    for depth in sorted(set(depths.values())):
        column = [node.name for node in found.nodes if depths[node.name] == depth]

        def height(name: str) -> float:
            above = [places[start][1] for start in found.reads(name) if start in places]
            return sum(above) / len(above) if above else 0.0

        for row, name in enumerate(sorted(column, key=lambda name: (height(name), name))):
            places[name] = (_MARGIN + depth * (_WIDTH + _GAP_X), _MARGIN + row * (_HEIGHT + _GAP_Y))
    return places


def _box(node: Node, place: tuple[int, int]) -> str:
    x, y = place
    dashes = ' stroke-dasharray="4 3"' if node.kind == "ephemeral" else ""
    return (
        f'<g><title>{escape(node.path or node.kind)}</title><rect x="{x}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}"'
        f' rx="5" fill="{_FILL[node.kind]}" stroke="#555"{dashes}/>'
        f'<text x="{x + _WIDTH // 2}" y="{y + _HEIGHT // 2 + 5}" text-anchor="middle">{escape(node.name)}</text></g>'
    )


def _arrow(start: tuple[int, int], end: tuple[int, int]) -> str:
    x1, y1 = start[0] + _WIDTH, start[1] + _HEIGHT // 2
    x2, y2 = end[0], end[1] + _HEIGHT // 2
    middle = (x1 + x2) // 2
    return (
        f'<path d="M{x1} {y1}C{middle} {y1} {middle} {y2} {x2} {y2}" fill="none" stroke="#777"'
        ' marker-end="url(#to)"/>'
    )
