"""Where the code sends statements, read from its syntax tree: what the recorded statements must cover."""

import ast
from collections.abc import Iterable
from dataclasses import dataclass

from tests.support.faults.statements import PACKAGE, Statement

_METHODS = {"execute", "executemany"}


@dataclass(frozen=True)
class CallSite:
    """A call of a psycopg method, from line `first` to `last` of `file`."""

    file: str
    first: int
    last: int
    function: str
    text: str

    def sends(self, statement: Statement) -> bool:
        """Whether the statement was sent here."""
        return statement.file == self.file and self.first <= statement.line <= self.last

    def __str__(self) -> str:
        return f"{self.file}:{self.first} in {self.function}: {self.text}"


def call_sites(files: Iterable[str]) -> list[CallSite]:
    """All of them in these files of the package."""
    return [site for file in files for site in _of_file(file)]


def _of_file(file: str) -> Iterable[CallSite]:
    tree = ast.parse((PACKAGE / file).read_text(encoding="utf-8"))
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef):
            for node in _own_nodes(function):
                if isinstance(node, ast.Call) and _sends(node):
                    text = " ".join(ast.unparse(node).split())[:120]
                    yield CallSite(file, node.lineno, node.end_lineno or node.lineno, function.name, text)


def _own_nodes(function: ast.FunctionDef) -> Iterable[ast.AST]:
    """The nodes of a function without those of functions inside it."""
    waiting: list[ast.AST] = list(function.body)
    while waiting:
        node = waiting.pop()
        if not isinstance(node, ast.FunctionDef):
            yield node
            waiting += ast.iter_child_nodes(node)


def _sends(call: ast.Call) -> bool:
    method = call.func
    if not isinstance(method, ast.Attribute):
        return False
    # `fork.copy(conn, …)` is the SDK's own; `cursor.copy(…)` is a statement.
    of_cursor = isinstance(method.value, ast.Name) and method.value.id == "cursor"
    return method.attr in _METHODS or (method.attr == "copy" and of_cursor)
