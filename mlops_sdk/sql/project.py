"""A dbt project as far as its files tell: models, what they read, which macros they use. Reads files, runs nothing.

What a model depends on must be written out: `ref` and `source` with names in quotes.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlops_sdk.errors import InputError
from mlops_sdk.release.digest import digest_of, digest_of_bytes

RELEASE = "release"  # the source whose tables are those of the release
_MACRO = re.compile(r"\{%-?\s*macro\s+(\w+)")
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Model:
    """One model. `sources` are (source, table) pairs, `variables` those without a default, `calls` names used."""

    name: str
    path: Path
    refs: tuple[str, ...] = ()
    sources: tuple[tuple[str, str], ...] = ()
    variables: frozenset[str] = frozenset()
    calls: frozenset[str] = frozenset()
    ephemeral: bool = False


@dataclass(frozen=True)
class Project:
    """The models of a folder by name, the files of macros by the macros' names, the models' settings in YAML."""

    folder: Path
    models: Mapping[str, Model]
    macros: Mapping[str, Path]
    settings: Mapping[str, Any]

    def model(self, name: str) -> Model:
        """The model of that name. Raises InputError."""
        if name not in self.models:
            known = ", ".join(sorted(self.models)) or "none"
            raise InputError(
                f"there is no model {name}", where=str(self.folder), remedy=f"models of this project: {known}"
            )
        return self.models[name]

    def inlined(self, name: str) -> list[Model]:
        """The model and the ephemeral ones that dbt writes into its SQL."""
        found: dict[str, Model] = {}
        waiting = [name]
        while waiting:
            model = self.model(waiting.pop())
            if model.name not in found:
                found[model.name] = model
                waiting += [ref for ref in model.refs if self.model(ref).ephemeral]
        return list(found.values())

    def reads(self, name: str) -> set[str]:
        """The tables that the model's SQL reads: other models, and tables of the release.

        Raises InputError for a table of another source: it is in another database.
        """
        found: set[str] = set()
        for model in self.inlined(name):
            found |= {ref for ref in model.refs if not self.model(ref).ephemeral}
            for source, table in model.sources:
                if source != RELEASE:
                    raise InputError(
                        f"model {name} reads source {source}, and SQL reads tables of the release only",
                        where=str(model.path),
                        remedy=f"build a derived table of it in Python, and read source('{RELEASE}', 'TABLE')",
                    )
                found.add(table)
        return found

    def variables(self, name: str) -> set[str]:
        """The variables that the model's SQL needs, those of its macros left out."""
        return {variable for model in self.inlined(name) for variable in model.variables}

    def digest(self, name: str) -> str:
        """The digest of all that makes the model's SQL: its files, its macros, its settings and the project's."""
        models = self.inlined(name)
        files = {model.path for model in models} | self._macro_files(models)
        files.add(self.folder / "dbt_project.yml")
        return digest_of(
            {
                "files": {
                    path.relative_to(self.folder).as_posix(): digest_of_bytes(path.read_bytes())
                    for path in files
                },
                "settings": {model.name: repr(self.settings.get(model.name)) for model in models},
            }
        )

    def _macro_files(self, models: Iterable[Model]) -> set[Path]:
        """Files of the macros that the models call, and of those that these call: a word that is a name counts.

        So does the name behind `postgres__` or `default__`: dbt dispatches to such.
        """
        by_word: dict[str, set[Path]] = defaultdict(set)
        for name, path in self.macros.items():
            for word in (name, name.rpartition("__")[2]):
                by_word[word].add(path)
        found: set[Path] = set()
        waiting = [call for model in models for call in model.calls]
        while waiting:
            for path in by_word.get(waiting.pop(), set()) - found:
                found.add(path)
                waiting += _WORD.findall(_text(path))
        return found


def read_project(folder: Path) -> Project:
    """The dbt project in `folder`. Raises InputError that names file and line."""
    if not (folder / "dbt_project.yml").is_file():
        raise InputError(
            "this is no dbt project: there is no dbt_project.yml", where=str(folder), remedy="name its folder"
        )
    models: dict[str, Model] = {}
    for path in sorted((folder / "models").rglob("*.sql")):
        if path.stem in models:
            raise InputError(f"two models are named {path.stem}", where=str(path), remedy="rename one")
        models[path.stem] = _read_model(path)
    macros = {
        name: path
        for path in sorted((folder / "macros").rglob("*.sql"))
        for name in _MACRO.findall(_text(path))
    }
    return Project(folder, models, macros, dict(_settings(folder)))


def _read_model(path: Path) -> Model:
    # jinja2 is imported here: whoever declares no SQL needs it not.
    import jinja2
    from jinja2 import nodes

    try:
        tree = jinja2.Environment(extensions=["jinja2.ext.do"]).parse(  # noqa: S701 - nothing is rendered
            _text(path)
        )
    except jinja2.TemplateSyntaxError as error:
        raise InputError(
            str(error.message), where=f"{path}:{error.lineno}", remedy="mend the model"
        ) from error
    refs: list[str] = []
    sources: list[tuple[str, str]] = []
    variables: set[str] = set()
    # A macro may be called with its project before its name, by dispatch, or by another name.
    calls = {node.name for node in tree.find_all(nodes.Name)}
    calls |= {node.attr for node in tree.find_all(nodes.Getattr)}
    ephemeral = False
    for call in tree.find_all(nodes.Call):
        if isinstance(call.node, nodes.Getattr) and call.node.attr == "dispatch":
            named = [*call.args, *(each.value for each in call.kwargs)]
            calls |= {str(getattr(each, "value", "")) for each in named}
        if not isinstance(call.node, nodes.Name):
            continue
        match call.node.name:
            case "ref":
                refs.append(_texts(path, call)[-1])
            case "source":
                source, table = _texts(path, call)[-2:]
                sources.append((source, table))
            case "var" if len(call.args) == 1 and not call.kwargs:
                variables.add(_texts(path, call)[0])
            case "config":
                ephemeral |= any(
                    each.key == "materialized" and getattr(each.value, "value", "") == "ephemeral"
                    for each in call.kwargs
                )
    return Model(
        path.stem,
        path,
        tuple(dict.fromkeys(refs)),
        tuple(dict.fromkeys(sources)),
        frozenset(variables),
        frozenset(calls),
        ephemeral,
    )


def _texts(path: Path, call: Any) -> list[str]:
    """The arguments of a call that are text in quotes; anything else cannot be known without running it."""
    found = [getattr(argument, "value", None) for argument in call.args]
    needed = 2 if call.node.name == "source" else 1
    if len(found) < needed or not all(isinstance(text, str) for text in found):
        raise InputError(
            f"{call.node.name}() is called with something else than names in quotes",
            where=f"{path}:{call.lineno}",
            remedy="write the name out: what a model reads must be known without running it",
        )
    return [str(text) for text in found]


def _settings(folder: Path) -> Iterator[tuple[str, Any]]:
    """What YAML files beside the models set for each; descriptions and tests change no row."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    for path in sorted([*(folder / "models").rglob("*.yml"), *(folder / "models").rglob("*.yaml")]):
        try:
            found = YAML(typ="safe", pure=True).load(_text(path)) or {}
        except YAMLError as error:
            raise InputError(f"no YAML: {error}", where=str(path)) from error
        models = found.get("models") or [] if isinstance(found, dict) else None
        if not isinstance(models, list) or not all(
            isinstance(each, dict) and "name" in each for each in models
        ):
            raise InputError(
                "its `models` are no list of models", where=str(path), remedy="write `- name: MODEL` for each"
            )
        for model in models:
            yield model["name"], model.get("config")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"byte {error.start} is not UTF-8", where=str(path), remedy="save it as UTF-8"
        ) from error
