"""What a model server is told when it starts. Parsed once; workers get it as JSON in one variable."""

import os
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from mlops_sdk.serving.hot.path import Limits
from mlops_sdk.serving.slots.turn_back import TurnBackRules

VARIABLE = "MLOPS_SERVE_SETTINGS"
"""Settings as JSON, for the worker processes."""

TOKEN_VARIABLE = "MLOPS_SERVE_TOKEN"  # noqa: S105 - the name of a variable
LOG_VARIABLE = "MLOPS_PREDICTION_LOG_URL"


class ServerSettings(BaseModel):
    """A stand-alone model server.

    `model` is the reference that `current` begins with. `allowed_models` are patterns of names that `/update-model` may
    load; the model's own name by default. `folder` is what the workers share while the server runs. `key_header` names
    a header whose value is a key: requests with the same one stay with the same slot; `sticky_cookie` gives those
    without one a cookie. `public_schema` tells a model's inputs to who has no token. `admin_token` is what calls that
    change something must show; without one they are refused. `log_conninfo` is the database of
    `mlops.prediction_log`; without one nothing is logged. `workers` is how many processes serve. Secrets are no part
    of the JSON: workers inherit them as variables.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    model: str
    mlflow_uri: str
    model_cache: Path
    folder: Path
    app: str = "mlops"
    workers: int = Field(default=1, ge=1)
    allowed_models: tuple[str, ...] = ()
    key_header: str = ""
    sticky_cookie: bool = False
    public_schema: bool = False
    shadow_share: float = Field(default=0.0, ge=0, le=1)
    turn_back: TurnBackRules = TurnBackRules()
    limits: Limits = Limits()
    template: dict[str, Any] | None = None
    admin_token: SecretStr | None = Field(default=None, exclude=True)
    log_conninfo: SecretStr | None = Field(default=None, exclude=True)

    @classmethod
    def of_worker(cls) -> Self:
        """The settings that the server's first process left for its workers."""
        token, log = os.environ.get(TOKEN_VARIABLE), os.environ.get(LOG_VARIABLE)
        found = cls.model_validate_json(os.environ[VARIABLE])
        return found.model_copy(
            update={
                "admin_token": SecretStr(token) if token else None,
                "log_conninfo": SecretStr(log) if log else None,
            }
        )

    def variables(self) -> dict[str, str]:
        """What workers need in their environment."""
        found = {VARIABLE: self.model_dump_json()}
        if self.admin_token:
            found[TOKEN_VARIABLE] = self.admin_token.get_secret_value()
        if self.log_conninfo:
            found[LOG_VARIABLE] = self.log_conninfo.get_secret_value()
        return found
