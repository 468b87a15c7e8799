"""Plain JSON values as YAML with one spelling: equal values give equal bytes with every library version.

Maps and lists of maps are blocks, other lists stay on one line, text that could be read as anything else is
quoted as in JSON. It must not know what the keys mean.
"""

import json
import re

from mlops_sdk.release.yaml_reader import core_scalar

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./:+-]*[A-Za-z0-9_]|[A-Za-z_]")
_YAML_1_1_WORDS = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}
# Allowed in JSON text, but not, or not as themselves, in a YAML document.
_ESCAPED = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


def to_yaml(value: dict[str, object]) -> str:
    """`value` as a YAML document that `yaml_reader` reads back as the same value."""
    return "".join(f"{line}\n" for line in _block(value))


def _block(value: dict[str, object]) -> list[str]:
    lines: list[str] = []
    for key, item in value.items():
        if isinstance(item, dict) and item:
            lines.append(f"{_text(key)}:")
            lines.extend(f"  {line}" for line in _block(item))
        elif isinstance(item, list) and item and all(isinstance(part, dict) and part for part in item):
            lines.append(f"{_text(key)}:")
            for part in item:
                first, *rest = _block(part)
                lines.append(f"  - {first}")
                lines.extend(f"    {line}" for line in rest)
        else:
            lines.append(f"{_text(key)}: {_flow(item)}")
    return lines


def _flow(value: object) -> str:
    match value:
        case str():
            return _text(value)
        case list():
            return f"[{', '.join(_flow(item) for item in value)}]"
        case dict():
            return f"{{{', '.join(f'{_text(key)}: {_flow(item)}' for key, item in value.items())}}}"
        case _:
            return json.dumps(value, allow_nan=False)


def _text(text: str) -> str:
    is_plain = _PLAIN.fullmatch(text) and text.lower() not in _YAML_1_1_WORDS and core_scalar(text) == text
    if is_plain:
        return text
    quoted = json.dumps(text, ensure_ascii=False)
    return _ESCAPED.sub(lambda found: f"\\u{ord(found.group()):04x}", quoted)
