"""The digest of a builder: the project's sources that it imports, and the versions of what those import.

Found by reading sources, not by running them. The SDK itself is the platform, not part of a release.
"""

import ast
import functools
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from pathlib import Path

from mlops_sdk.errors import InputError
from mlops_sdk.release.digest import digest_of, digest_of_bytes
from mlops_sdk.release.tables import BuilderSpec

_PLATFORM = "mlops_sdk"
_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[([^\]]*)\])?")
_OF_EXTRA = re.compile(r";.*\bextra\s*==\s*['\"]([^'\"]+)['\"]")


def builder_spec(entry: str, root: Path) -> BuilderSpec:
    """The builder `package.module:function` of the checkout at `root`.

    Raises InputError when the module is not in the checkout.
    """
    module, _, function = entry.partition(":")
    if not function or _file(module, root) is None:
        raise InputError(
            f"  the builder {entry!r} is not in the checkout; write package.module:function of this project"
        )
    sources, foreign = closure(module, root)
    return BuilderSpec(
        entry=entry,
        digest=digest_of({path.relative_to(root).as_posix(): _digest(path) for path in sources}),
        requirements=_versions(foreign, _project_extras(root)),
    )


def closure(module: str, root: Path) -> tuple[list[Path], set[str]]:
    """The files under `root` that importing `module` reads, and the top-level names from elsewhere."""
    waiting = [module]
    seen: set[str] = set()
    files: set[Path] = set()
    foreign: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        file = _file(name, root)
        if file is None:
            continue
        files.add(file)
        waiting += _parents(name)
        for imported in _imports(file, name):
            top = imported.partition(".")[0]
            if (root / top).is_dir() or (root / f"{top}.py").is_file():
                if top != _PLATFORM:
                    waiting.append(imported)
            elif top not in sys.stdlib_module_names and top != _PLATFORM:
                foreign.add(top)
    return sorted(files), foreign


def _file(module: str, root: Path) -> Path | None:
    base = root.joinpath(*module.split("."))
    for candidate in (base / "__init__.py", base.with_suffix(".py")):
        if candidate.is_file():
            return candidate
    return None


def _parents(module: str) -> Iterator[str]:
    while "." in module:
        module = module.rpartition(".")[0]
        yield module


def _imports(file: Path, module: str) -> Iterator[str]:
    """Modules that a source imports anywhere in it; `from a import b` may mean a.b, so both are given."""
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(file.read_bytes(), str(file))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = package.split(".")
                anchor = ".".join(parts[: len(parts) - node.level + 1])
                base = f"{anchor}.{base}" if base else anchor
            yield base
            for alias in node.names:
                yield f"{base}.{alias.name}"


def _digest(path: Path) -> str:
    return digest_of_bytes(path.read_bytes())


@functools.cache
def _providers() -> Mapping[str, list[str]]:
    """Which distributions bring a top-level name; once a process, for it reads a file of each of them."""
    return metadata.packages_distributions()


def _versions(tops: Iterable[str], extras: Mapping[str, frozenset[str]]) -> dict[str, str]:
    """Versions of the distributions that bring these top-level names, and of what they require in turn.

    `extras` are those that the project asks for, by distribution: what they add counts too.
    """
    providers = _providers()
    names = {_normal(name) for top in tops for name in providers.get(top, [])}
    waiting = [(name, extras.get(name, frozenset())) for name in names]
    asked: dict[str, frozenset[str]] = {}
    found: dict[str, str] = {}
    while waiting:
        name, wanted = waiting.pop()
        if name in asked and wanted <= asked[name]:
            continue
        asked[name] = wanted | asked.get(name, frozenset())
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue  # required only on another platform or Python
        found[name] = distribution.version
        for requirement in distribution.requires or []:
            of_extra = _OF_EXTRA.search(requirement)
            if of_extra is None or of_extra[1] in asked[name]:
                waiting += _named(requirement)
    return dict(sorted(found.items()))


def _project_extras(root: Path) -> dict[str, frozenset[str]]:
    """The extras that the project's own dependencies ask for, by distribution."""
    file = root / "pyproject.toml"
    if not file.is_file():
        return {}
    project = tomllib.loads(file.read_text(encoding="utf-8")).get("project", {})
    return dict(named for requirement in project.get("dependencies", []) for named in _named(requirement))


def _named(requirement: str) -> list[tuple[str, frozenset[str]]]:
    """The distribution that a requirement names, with its extras."""
    match = _REQUIREMENT.match(requirement)
    if match is None:
        return []
    extras = frozenset(extra.strip() for extra in (match[2] or "").split(",") if extra.strip())
    return [(_normal(match[1]), extras)]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
