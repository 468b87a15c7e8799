"""YAML as plain JSON values, with the line of every key and every fault of its form at once.

Scalars follow YAML 1.2's core schema: a date is text, `no` is text. It must not know what the keys mean.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from io import StringIO

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from mlops_sdk.errors import Fault

Path = tuple[str | int, ...]

_CORE: tuple[tuple[re.Pattern[str], Callable[[str], object]], ...] = (
    (re.compile(r"|~|null|Null|NULL"), lambda _: None),
    (re.compile(r"true|True|TRUE|false|False|FALSE"), lambda text: text.lower() == "true"),
    (re.compile(r"[-+]?[0-9]{1,4000}"), int),
    (re.compile(r"0o[0-7]+"), lambda text: int(text[2:], 8)),
    (re.compile(r"0x[0-9a-fA-F]+"), lambda text: int(text[2:], 16)),
    (re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"), float),
    (re.compile(r"[-+]?\.(inf|Inf|INF)"), lambda text: -math.inf if text.startswith("-") else math.inf),
    (re.compile(r"\.(nan|NaN|NAN)"), lambda _: math.nan),
)


@dataclass
class Document:
    """What a file holds: `value`, the `lines` (from 1) of every key and item by path, and what is wrong.

    With a fault of syntax `value` is None and there is no other fault. A key that occurs twice keeps its
    first value.
    """

    file: str
    value: object = None
    lines: dict[Path, int] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def line(self, path: Path) -> int:
        """The line of the innermost part of `path` that is in the file; 1 for an empty file."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def add(self, path: Path, what: str, remedy: str, *, line: int | None = None) -> None:
        """Notes a fault of the value at `path`."""
        key = dotted(path)
        self.faults.append(Fault(self.file, line or self.line(path), key, what, remedy))


def dotted(path: Path) -> str:
    """`models.embedder.version`, `parameters.weights[2]`; `(file)` for the whole."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".") or "(file)"


def core_scalar(text: str) -> object:
    """What a plain scalar means in YAML 1.2's core schema."""
    for pattern, convert in _CORE:
        if pattern.fullmatch(text):
            return convert(text)
    return text


def read_document(text: str, file: str) -> Document:
    """Reads one YAML document. Never raises: what is wrong is in `faults`."""
    document = Document(file)
    try:
        node = YAML(typ="safe", pure=True).compose(StringIO(text))
        if node is not None:
            document.lines[()] = node.start_mark.line + 1
            document.value = _Builder(document).build(node, ())
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = " ".join(part for part in (error.context, error.problem) if part)
        _syntax(document, what, mark.line + 1 if mark else 1)
    except ReaderError as error:
        _syntax(document, "a character that YAML does not allow", text.count("\n", 0, error.position) + 1)
    except YAMLError as error:
        _syntax(document, str(error), 1)
    except RecursionError:
        _syntax(document, "nested too deeply", 1)
    return document


def _syntax(document: Document, what: str, line: int) -> None:
    document.value = None
    document.faults[:] = [
        Fault(
            document.file, line, "(syntax)", f"not valid YAML: {what}", "mend this line or the one above it"
        )
    ]


class _Builder:
    """Turns composed nodes into values, noting lines and faults in a document."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._seen: set[int] = set()

    def build(self, node: Node, path: Path) -> object:
        if id(node) in self._seen:
            # One meaning a place: an alias can also make a document endless or enormous.
            self._document.add(path, f"an alias (*{node.anchor})", "write the value out")
            return None
        self._seen.add(id(node))
        match node:
            case MappingNode():
                return self._mapping(node, path)
            case SequenceNode():
                return self._sequence(node, path)
            case ScalarNode():
                return self._scalar(node, path)
        raise AssertionError(type(node))

    def _mapping(self, node: MappingNode, path: Path) -> dict[str, object]:
        built: dict[str, object] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, ScalarNode):
                self._document.add(path, "a key that is no text", "write the key as text", line=line)
                continue
            key = key_node.value
            if key in built:
                first = self._document.lines[(*path, key)]
                self._document.add((*path, key), f"twice; first in line {first}", "remove one", line=line)
                continue
            self._document.lines[(*path, key)] = line
            built[key] = self.build(value_node, (*path, key))
        return built

    def _sequence(self, node: SequenceNode, path: Path) -> list[object]:
        built = []
        for index, item in enumerate(node.value):
            self._document.lines[(*path, index)] = item.start_mark.line + 1
            built.append(self.build(item, (*path, index)))
        return built

    def _scalar(self, node: ScalarNode, path: Path) -> object:
        tag = str(node.tag)
        if not tag.startswith("tag:yaml.org,2002:"):
            self._document.add(path, f"a tag ({tag})", "remove the tag; values are plain")
            return None
        if node.style or tag == "tag:yaml.org,2002:str":
            return str(node.value)
        value = core_scalar(node.value)
        if isinstance(value, float) and not math.isfinite(value):
            self._document.add(path, f"{node.value} is no number", "write a finite number, or text in quotes")
            return None
        return value
