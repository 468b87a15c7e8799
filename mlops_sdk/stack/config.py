"""Stack config from locks and bindings: what the program of an environment reads. Pure.

The release part (`releases`, `live`, `basis`) is a rendering of the ledger; all else belongs to a person.
Must not read or write a file: `config_file` does.
"""

from collections.abc import Iterable, Mapping, MutableMapping
from pathlib import PurePath
from typing import Any

from pydantic import Field, JsonValue

from mlops_sdk.errors import InputError
from mlops_sdk.release.binding import Binding, ports
from mlops_sdk.release.digest import digest_of, short
from mlops_sdk.release.flows import FlowSpec
from mlops_sdk.release.lock import Lock
from mlops_sdk.release.value import Value

PROJECT = "mlops-sdk"
PORTS = ("postgres", "mlflow", "prefect", "router", "agent")
POSTGRES_URL = "postgresUrl"
ALERT_WEBHOOK = "alertWebhook"


class Basis(Value):
    """The ledger entry that the release part was rendered from: its number and its hash."""

    entry: int = Field(ge=0)
    digest: str


class ReleaseSection(Value):
    """What the program needs of one release in one environment. Holds no secret.

    `environment` is the folder of the release's dependency environment, relative to the project's folder; `images` are
    digests by target of the Dockerfile.
    """

    release: str
    digest: str
    commit: str
    environment: str
    seq: int
    pg_schema: str
    role: str
    service_port: int
    service: str | None = None
    state: str | None = None
    jobs: str | None = None
    flows: dict[str, FlowSpec] = Field(default_factory=dict)
    images: dict[str, str] = Field(default_factory=dict)
    models: dict[str, dict[str, JsonValue]] = Field(default_factory=dict)
    parameters: dict[str, JsonValue] = Field(default_factory=dict)


def section(lock: Lock, binding: Binding, *, environment: PurePath) -> ReleaseSection:
    """The section of a release; `environment` as in ReleaseSection.

    Raises InputError when lock and binding are not of one release.
    """
    if lock.digest != binding.digest:
        raise InputError(f"the binding is of {binding.release}, the lock of {lock.release}")
    models: dict[str, dict[str, JsonValue]] = {
        key: {"name": model.name, "version": model.version, "digest": model.digest}
        for key, model in lock.models.items()
    }
    return ReleaseSection(
        release=lock.release,
        digest=lock.digest,
        commit=lock.code.commit,
        environment=environment.as_posix(),
        seq=binding.seq,
        pg_schema=binding.pg_schema,
        role=binding.role,
        service_port=binding.service_port,
        service=lock.service,
        state=lock.state.entry if lock.state else None,
        jobs=lock.jobs,
        flows=dict(lock.flows),
        images=dict(lock.images),
        models=models,
        parameters=lock.parameters,
    )


def render(
    document: MutableMapping[str, Any],
    releases: Iterable[ReleaseSection],
    *,
    live: str | None,
    basis: Basis | None,
) -> MutableMapping[str, Any]:
    """Puts the release part into a config document, in place, and returns it; nothing else is touched.

    `live` is a digest, or None before the first release. Releases are written oldest first.
    Raises InputError when `live` is none of the releases.
    """
    ordered = sorted(releases, key=lambda one: one.seq)
    if live is not None and live not in {one.digest for one in ordered}:
        raise InputError(f"live release {live} is not among the releases of the config")
    config = document.setdefault("config", {})
    values: dict[str, Any] = {
        "releases": {short(one.digest): one.document() for one in ordered} or None,
        "live": live,
        "basis": basis.document() if basis else None,
    }
    for name, value in values.items():
        key = f"{PROJECT}:{name}"
        if value is None:
            config.pop(key, None)
        else:
            config[key] = value
    return document


def releases_of(document: Mapping[str, Any]) -> list[ReleaseSection]:
    """The release sections of a config document, oldest first. Raises InputError for a bad one."""
    found = _value(document, "releases") or {}
    sections = [parse_section(key, value) for key, value in found.items()]
    return sorted(sections, key=lambda one: one.seq)


def parse_section(key: str, value: Mapping[str, Any]) -> ReleaseSection:
    """One release section from plain values. Raises InputError that names the fault."""
    from pydantic import ValidationError

    where = f"{PROJECT}:releases.{key}"
    remedy = "`mlops stack sync ENV` renders the release part anew from the ledger."
    try:
        parsed = ReleaseSection.from_document(plain(value))
    except (ValidationError, TypeError, ValueError) as error:
        raise InputError(f"not a release section: {error}", where=where, remedy=remedy) from error
    if short(parsed.digest) != key:
        raise InputError(f"the section is of {parsed.digest}", where=where, remedy=remedy)
    return parsed


def live_of(document: Mapping[str, Any]) -> str | None:
    """The digest that the config wants live, if any."""
    value = _value(document, "live")
    return None if value is None else str(value)


def basis_of(document: Mapping[str, Any]) -> Basis | None:
    """The entry that the release part was rendered from; None in a config that no ledger made."""
    value = _value(document, "basis")
    return None if value is None else Basis.from_document(plain(value))


def kind_of(document: Mapping[str, Any]) -> str:
    """The environment's kind; a config that names none is of kind local."""
    return str(_value(document, "kind") or "local")


def values_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """Every value of the config by its full name, plain. A secret is the encrypted map that the file holds."""
    return {str(name): plain(value) for name, value in (document.get("config") or {}).items()}


def has_given_postgres(document: Mapping[str, Any]) -> bool:
    """Whether Postgres is a server that somebody else runs, not one of the environment's own processes."""
    return bool(_value(document, POSTGRES_URL))


def taken_ports(document: Mapping[str, Any]) -> set[int]:
    """The ports of 127.0.0.1 that belong to the environment of this config, whether anybody listens or not."""
    servers = [port for port in plain(_value(document, "ports") or {}).values() if isinstance(port, int)]
    return {*servers, *(port for section in releases_of(document) for port in ports(section.service_port))}


def ports_of(document: Mapping[str, Any]) -> dict[str, int]:
    """The ports by server, as far as the config has them: an earlier version knew fewer servers."""
    return {name: int(port) for name, port in plain(_value(document, "ports") or {}).items() if port}


def cause_of(document: Mapping[str, Any]) -> str:
    """The digest of the part that can make a release live or present: what ledger entries call their cause.

    `basis` is not in it: rendering the same releases from a later entry causes nothing new.
    """
    return digest_of({"releases": plain(_value(document, "releases") or {}), "live": live_of(document)})


def plain(value: Any) -> Any:
    """A value of a YAML document as plain dicts, lists and scalars."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return value if type(value) is kind else kind(value)
    return value


def _value(document: Mapping[str, Any], name: str) -> Any:
    return (document.get("config") or {}).get(f"{PROJECT}:{name}")
