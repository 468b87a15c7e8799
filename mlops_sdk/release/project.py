"""Facts about the project that every environment shares: `[tool.mlops]` of pyproject.toml.

It must not read an environment, a stack or the process environment.
"""

import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from mlops_sdk.errors import InputError, NotFoundError
from mlops_sdk.release.event_rules import RIGHT_EVENTS, EventRules, are_event_rules
from mlops_sdk.release.tag import SCHEMES

_APP = re.compile(r"[a-z][a-z0-9_]*")
_ENVIRONMENT = re.compile(r"[a-z][a-z0-9-]*")
_KEYS = (
    "app",
    "scheme",
    "registry_uri",
    "image_repository",
    "environments",
    "development",
    "keep",
    "lease_s",
    "prediction_log_days",
    "events",
)


@dataclass(frozen=True)
class Project:
    """One project. `environments` are in the order of promotion; `keep` is how many releases stay warm. In
    those of `development` versions of data are made.

    `lease_s` is how long, in seconds, a deployer's lease lasts after its last sign of life. 60: longer than a
    machine with too much to do holds a process up, short enough to be waited for. `prediction_log_days` is for how
    many days before today predictions are kept; None: for ever.
    """

    root: Path
    app: str
    scheme: str = "deployment-manager"
    registry_uri: str | None = None  # None: the environment's own MLflow
    image_repository: str | None = None
    environments: tuple[str, ...] = field(default=("local",))
    development: tuple[str, ...] | None = None  # None: the first environment
    keep: int = 3
    lease_s: float = 60.0
    prediction_log_days: int | None = None
    events: EventRules = field(default_factory=EventRules)

    def environment_folder(self, environment: str) -> Path:
        """The git-ignored folder of an environment of kind local. It need not exist."""
        return self.root / ".mlops" / environment

    def is_development(self, environment: str) -> bool:
        """Whether versions of data are made there: elsewhere they are only pulled."""
        return environment in (self.environments[:1] if self.development is None else self.development)

    def check_environment(self, environment: str) -> str:
        """`environment`, if the project has it. Raises NotFoundError with the ones there are."""
        if environment in self.environments:
            return environment
        close = get_close_matches(environment, self.environments, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise NotFoundError(
            f"the project has no environment {environment!r}",
            where=str(self.root / "pyproject.toml"),
            remedy=f"{hint}[tool.mlops] environments = {list(self.environments)}",
        )


def load_project(start: Path | None = None) -> Project:
    """The project that `start` (default: the working directory) is in.

    Walks up to the first pyproject.toml with a `[tool.mlops]` table. Raises NotFoundError if there is none,
    InputError naming every wrong key.
    """
    first = (start or Path.cwd()).resolve()
    for folder in (first, *first.parents):
        table = _read_table(folder / "pyproject.toml")
        if table is not None:
            return _project(folder, table)
    raise NotFoundError(
        "no pyproject.toml with a [tool.mlops] table here or above",
        where=str(first),
        remedy="change into the project's folder, or add [tool.mlops] with app = NAME to its pyproject.toml",
    )


def _read_table(path: Path) -> dict[str, Any] | None:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"not valid TOML: {error}", where=str(path)) from error
    table = document.get("tool", {}).get("mlops")
    return table if isinstance(table, dict) else None


def _project(root: Path, table: dict[str, Any]) -> Project:
    faults = [_unknown(key) for key in table if key not in _KEYS]
    facts: dict[str, Any] = {}
    for key, (is_right, right) in _CHECKS.items():
        if key not in table:
            continue
        value = table[key]
        if not is_right(value):
            faults.append(f"{key}: {value!r} is not {right}")
        elif key == "events":
            facts[key] = EventRules(**value)
        else:
            facts[key] = tuple(value) if isinstance(value, list) else value
    known = facts.get("environments", ("local",))
    faults += [
        f"development: {name!r} is not in environments"
        for name in facts.get("development", ())
        if name not in known
    ]
    if "app" not in table:
        faults.append("app: missing; " + _CHECKS["app"][1])
    if faults:
        listed = "\n".join(f"  [tool.mlops] {fault}" for fault in faults)
        raise InputError(f"wrong facts about the project\n{listed}", where=str(root / "pyproject.toml"))
    return Project(root=root, **facts)


def _unknown(key: str) -> str:
    close = get_close_matches(key, _KEYS, n=1)
    return f"{key}: unknown key" + (f"; did you mean {close[0]!r}?" if close else f"; known: {list(_KEYS)}")


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _are_environments(value: object) -> bool:
    return bool(value) and _are_names(value)


def _are_names(value: object) -> bool:
    if not isinstance(value, list) or len(set(map(str, value))) != len(value):
        return False
    return all(isinstance(name, str) and _ENVIRONMENT.fullmatch(name) for name in value)


def _is_app(value: object) -> bool:
    return isinstance(value, str) and _APP.fullmatch(value) is not None


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 2


def _are_days(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 36_500


def _is_duration(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 2 <= value <= 86_400


_CHECKS: dict[str, tuple[Callable[[object], bool], str]] = {
    "app": (_is_app, "a name of a-z, 0-9 and _, a letter first"),
    "scheme": (lambda value: value in SCHEMES, "one of " + ", ".join(SCHEMES)),
    "registry_uri": (_is_text, "the address of an MLflow server"),
    "image_repository": (_is_text, "the name of an image repository"),
    "environments": (_are_environments, "a list of different names of a-z, 0-9 and -, a letter first"),
    "development": (_are_names, "a list of different names of environments; an empty one for none"),
    "keep": (_is_count, "a number of at least 2"),
    "lease_s": (_is_duration, "a number of seconds from 2 to 86400"),
    "prediction_log_days": (_are_days, "a number of days from 1"),
    "events": (are_event_rules, RIGHT_EVENTS),
}
