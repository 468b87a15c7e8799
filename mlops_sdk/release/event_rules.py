"""Which changes make a release by themselves: `[tool.mlops.events]` of pyproject.toml. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

EVERY_VERSION = "*"
"""What stands for an alias where any new version of a model makes a release."""

_ALIAS = re.compile(r"[A-Za-z0-9_-]+")
_KEY = re.compile(r"[a-z][a-z0-9_]*")

RIGHT_EVENTS = (
    "a table of deploy = true or false, commit = true or false,"
    ' models = {KEY = "ALIAS"}, where "*" is any new version'
)


@dataclass(frozen=True)
class EventRules:
    """What the receiver and the polling of an environment do by themselves; a command has options for it.

    `models` says of a model's key which alias makes a release when it moves to a newer version, or `*` for any newer
    version; a model that is not named makes none. `deploy`: start a deploy of what was made, where releases of its
    kind go. `commit`: commit the new file.
    """

    models: Mapping[str, str] = field(default_factory=dict)
    deploy: bool = False
    commit: bool = False

    @property
    def declared(self) -> bool:
        """Whether they say anything: without that, nothing happens by itself."""
        return bool(self.models) or self.deploy or self.commit


def are_event_rules(value: object) -> bool:
    """Whether a value of TOML is such a table."""
    if not isinstance(value, dict) or not set(value) <= {"models", "deploy", "commit"}:
        return False
    models = value.get("models", {})
    switches = all(isinstance(value.get(name, False), bool) for name in ("deploy", "commit"))
    return switches and isinstance(models, dict) and all(_is_rule(key, rule) for key, rule in models.items())


def _is_rule(key: str, rule: object) -> bool:
    named = isinstance(rule, str) and (rule == EVERY_VERSION or _ALIAS.fullmatch(rule) is not None)
    return _KEY.fullmatch(key) is not None and named
