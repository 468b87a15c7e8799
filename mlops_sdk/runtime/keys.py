"""Every variable of the runtime environment, once. Rendering, parsing and the reference page read this table.

It must not hold a value: values come from stack config, bindings and locks.
"""

from dataclasses import dataclass
from typing import Literal

Layer = Literal["environment", "operator", "release", "build"]
KeyType = Literal["text", "integer", "url", "path", "json"]

LAYERS: dict[Layer, str] = {
    "environment": "addresses of the platform; changes only with the platform. Every process gets it",
    "operator": "what deploying and the provider need; no service and no job gets it",
    "release": "what belongs to one release; its service gets it after the environment",
    "build": "what one build of a derived table gets after the environment, as the builder's role",
}


@dataclass(frozen=True)
class Key:
    """One variable.

    `doc` says what it is, `source` where the value comes from (shown when it is missing). A key that is not
    `required` may be absent, which means what `doc` says.
    """

    name: str
    layers: tuple[Layer, ...]
    type: KeyType
    doc: str
    source: str
    secret: bool = False
    required: bool = True

    @property
    def field(self) -> str:
        """The name of the setting in code: `MLOPS_DATABASE_HOST` is `database_host`."""
        return self.name.lower().removeprefix("mlops_")


_UP = "written by `pulumi up` (`mlops up ENV`)"
_CONFIG = "stack config `mlops-sdk:kind`"
_MASTER = "the stack's secret `mlops-sdk:masterKey`, kept there encrypted"
_LOCK = "the release's lock"
_BINDING = "the release's binding in the ledger"
_BUILD = "written by `mlops deploy` for the one build"
_BOTH: tuple[Layer, ...] = ("release", "build")

KEYS: tuple[Key, ...] = (
    Key("MLOPS_ENVIRONMENT", ("environment",), "text", "name of the environment", _UP),
    Key(
        "MLOPS_KIND",
        ("environment",),
        "text",
        "kind of the environment: `local`, `kubernetes` or `gcp`",
        _CONFIG,
    ),
    Key("MLOPS_APP", ("environment",), "text", "the project's app", "`[tool.mlops] app` of pyproject.toml"),
    Key("MLOPS_PROJECT_ROOT", ("environment",), "path", "folder of the project on this machine", _UP),
    Key("MLFLOW_TRACKING_URI", ("environment",), "url", "MLflow: tracking and model registry", _UP),
    Key("PREFECT_API_URL", ("environment",), "url", "Prefect's API, with `/api`", _UP),
    Key(
        "MLOPS_WORK_POOL",
        ("environment",),
        "text",
        "Prefect's work pool of this environment; absent: `mlops`, on a server of its own",
        _UP,
        required=False,
    ),
    Key("MLOPS_DATABASE_HOST", ("environment",), "text", "Postgres: host", _UP),
    Key("MLOPS_DATABASE_PORT", ("environment",), "integer", "Postgres: port", _UP),
    Key("MLOPS_DATABASE_NAME", ("environment",), "text", "Postgres: database of ledger and state", _UP),
    Key(
        "MLOPS_SOURCE_URL",
        ("environment",),
        "url",
        "source database, as the role `source_reader`",
        _MASTER,
        secret=True,
    ),
    Key(
        "MLOPS_PUBSUB_PROJECT",
        ("environment",),
        "text",
        "project of Google Cloud whose Pub/Sub carries the messages; absent: Postgres carries them",
        _UP,
        required=False,
    ),
    Key(
        "MLOPS_ALERT_WEBHOOK",
        ("environment",),
        "url",
        "address that is told of dates which a job did not do; absent: only the log is",
        "stack config `mlops-sdk:alertWebhook`, a secret",
        secret=True,
        required=False,
    ),
    Key("MLOPS_ROUTER_URL", ("environment",), "url", "the router: where users' requests arrive", _UP),
    Key(
        "MLOPS_SERVICE_HOST",
        ("environment",),
        "text",
        "address that a service listens on; absent: 127.0.0.1",
        _UP,
        required=False,
    ),
    Key("MLOPS_MODEL_CACHE", ("environment",), "path", "folder of downloaded models", _UP),
    Key(
        "MLOPS_OPERATOR_URL",
        ("operator",),
        "url",
        "ledger and state database, as the role `sdk`",
        _MASTER,
        secret=True,
    ),
    Key(
        "MLOPS_MASTER_KEY",
        ("operator",),
        "text",
        "what every role's password is derived from: 32 random bytes in base64url",
        _MASTER,
        secret=True,
    ),
    Key(
        "MLOPS_SOURCE_OWNER_URL",
        ("operator",),
        "url",
        "source database, as the role `source_owner`",
        _MASTER,
        secret=True,
    ),
    Key("MLOPS_RELEASE", _BOTH, "text", "tag of the release", _LOCK),
    Key("MLOPS_RELEASE_DIGEST", _BOTH, "text", "digest of the release", _LOCK),
    Key("MLOPS_COMMIT", _BOTH, "text", "commit of the release's code", _LOCK),
    Key("MLOPS_PG_SCHEMA", ("release",), "text", "the release's Postgres schema", _BINDING),
    Key("MLOPS_DATABASE_USER", _BOTH, "text", "Postgres: role", _BINDING),
    Key("MLOPS_DATABASE_PASSWORD", _BOTH, "text", "Postgres: the role's password", _MASTER, secret=True),
    Key(
        "MLOPS_SERVICE",
        ("release",),
        "text",
        "the service, `package.module:attribute`; absent: the release has none",
        _LOCK,
        required=False,
    ),
    Key("MLOPS_SERVICE_PORT", ("release",), "integer", "port of the service", _BINDING),
    Key(
        "MLOPS_INVOKER_URL",
        ("release",),
        "url",
        "the release's own invoker; absent: it has no jobs, or its environment starts none",
        _BINDING,
        required=False,
    ),
    Key(
        "MLOPS_INVOKER_TOKEN",
        ("release",),
        "text",
        "the bearer token of the invoker, one for an environment; absent: as MLOPS_INVOKER_URL",
        "the stack's secret `mlops-sdk:masterKey`; of an invoker that somebody starts by hand, who starts it",
        secret=True,
        required=False,
    ),
    Key(
        "MLOPS_STATE",
        _BOTH,
        "text",
        "the declared tables, `package.module:attribute`; absent: the release has none",
        _LOCK,
        required=False,
    ),
    Key(
        "MLOPS_JOBS",
        ("release",),
        "text",
        "the jobs by date, `package.module:JOBS`; absent: the release has none",
        _LOCK,
        required=False,
    ),
    Key(
        "MLOPS_MODELS",
        _BOTH,
        "json",
        "the models: an object of key to `{name, version, digest}`",
        _LOCK,
    ),
    Key("MLOPS_PARAMETERS", _BOTH, "json", "the manifest's parameters: an object", _LOCK),
    Key(
        "MLOPS_BUILD",
        ("build",),
        "json",
        "the build: an object with `table`, `fingerprint`, `attempt`, `physical` and what it reads",
        _BUILD,
    ),
)

BY_NAME: dict[str, Key] = {key.name: key for key in KEYS}
BY_FIELD: dict[str, Key] = {key.field: key for key in KEYS}


def of_layer(*layers: Layer) -> tuple[Key, ...]:
    """The keys of these layers, in the order of the table."""
    return tuple(key for key in KEYS if set(key.layers) & set(layers))
