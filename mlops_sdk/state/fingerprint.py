"""The fingerprint of a derived table: a hash of everything that its content depends on, and nothing else.

Pure. It hashes the declaration, never a read-back of the catalog: another spelling may cost a rebuild, it
can never cause a false reuse.
"""

import base64
import hashlib
import re
from collections.abc import Mapping
from typing import Any

from mlops_sdk.errors import InputError
from mlops_sdk.release.digest import canonical_json
from mlops_sdk.release.lock import Lock
from mlops_sdk.release.tables import TableSpec

SCHEME = 2  # of the inputs below; a change of meaning needs a new number
PGVECTOR = "0.8"  # major.minor: an index built by another one is another index
_LENGTH = 26
# What of a declaration is in the table. What it is built from stands beside it, by content and not by name.
_DECLARATION = ("name", "columns", "primary_key", "unique", "indexes")


def fingerprints(lock: Lock, watermarks: Mapping[str, str], *, pgvector: str = PGVECTOR) -> dict[str, str]:
    """The fingerprint of each derived table: 26 characters of [a-z2-7].

    `watermarks` has the text result of each source's query by `table.source`. Raises InputError for a model,
    parameter, path of data or watermark that is not there.
    """
    return {name: _hash(inputs) for name, inputs in explain(lock, watermarks, pgvector=pgvector).items()}


def explain(
    lock: Lock, watermarks: Mapping[str, str], *, pgvector: str = PGVECTOR
) -> dict[str, dict[str, Any]]:
    """What each derived table's fingerprint is made of: where two differ is why one builds."""
    found: dict[str, dict[str, Any]] = {}
    for name in build_order(lock.tables):
        spec = lock.tables[name]
        declared = spec.document()
        found[name] = {
            "scheme": SCHEME,
            "declaration": {key: declared[key] for key in _DECLARATION if key in declared},
            "builder": spec.builder.document() if spec.builder else None,
            "models": {key: _model(lock, name, key) for key in spec.models},
            "tables": {upstream: _hash(found[upstream]) for upstream in spec.tables},
            "parameters": resolve_parameters(lock, spec),
            # The query too: another question may have the same answer.
            "watermarks": {
                source.name: {
                    "query": source.watermark,
                    "value": _watermark(watermarks, name, source.name),
                }
                for source in spec.sources
            },
            "pgvector": pgvector if _uses_vectors(spec) else None,
            # Absent where there is none, so that tables from before there was data keep their fingerprints.
            **({"data": {path: _data(lock, name, path) for path in spec.data}} if spec.data else {}),
        }
    return found


def build_order(tables: Mapping[str, TableSpec]) -> list[str]:
    """Derived tables, each after those that it is built from, otherwise by name."""
    waiting = sorted(name for name, spec in tables.items() if spec.kind == "derived")
    done: list[str] = []
    while waiting:
        ready = [name for name in waiting if all(up in done for up in tables[name].tables)]
        if not ready:
            raise InputError(f"derived tables are built from each other: {', '.join(waiting)}")
        done += ready
        waiting = [name for name in waiting if name not in ready]
    return done


def resolve_parameters(lock: Lock, spec: TableSpec) -> dict[str, Any]:
    """The parameters of a table: constants, and for those declared by name the manifest's values."""
    found: dict[str, Any] = {}
    for name, value in spec.parameters.items():
        if value is None and name not in lock.parameters:
            raise InputError(
                f"table {spec.name} depends on parameter {name}, which the manifest has not",
                remedy=f"add `{name}` under `parameters:`",
            )
        found[name] = lock.parameters[name] if value is None else value
    return found


def physical_name(table: str, fingerprint: str) -> str:
    """The name of a sealed table in schema store: `p_<slug<=24>_<fp26>`, at most 53 bytes."""
    return f"p_{_slug(table)}_{fingerprint}"


def attempt_name(table: str, fingerprint: str, attempt: int) -> str:
    """The name of the table that one attempt fills: at most 53 bytes and the attempt's digits."""
    return f"b_{_slug(table)}_{fingerprint}_{attempt}"


def _slug(table: str) -> str:
    """For people only, in one byte a character: the fingerprint makes a name unique."""
    return re.sub(r"[^a-z0-9_]", "_", table.lower())[:24]


def _hash(inputs: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(canonical_json(dict(inputs))).digest()
    return base64.b32encode(digest).decode().lower()[:_LENGTH]


def _model(lock: Lock, table: str, key: str) -> str:
    if key not in lock.models:
        raise InputError(
            f"table {table} is built from model {key}, which the manifest has not",
            remedy=f"add `{key}` under `models:`",
        )
    return lock.models[key].digest


def _data(lock: Lock, table: str, path: str) -> str:
    if path not in lock.data:
        raise InputError(
            f"table {table} is built from data {path}, which the manifest has not",
            remedy=f"add `{path}` under `data:`",
        )
    return lock.data[path].md5


def _watermark(watermarks: Mapping[str, str], table: str, source: str) -> str:
    try:
        return watermarks[f"{table}.{source}"]
    except KeyError:
        raise InputError(f"no watermark was read for source {source} of table {table}") from None


def _uses_vectors(spec: TableSpec) -> bool:
    return any(column.type.startswith(("vector", "halfvec", "sparsevec")) for column in spec.columns)
