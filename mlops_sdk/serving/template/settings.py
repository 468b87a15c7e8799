"""What the template API is told when a server starts. Parsed once; it connects to nothing."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from mlops_sdk.serving.drift.decision import Rules
from mlops_sdk.serving.drift.training_request import TrainingQueue

SOURCE_VARIABLE = "MLOPS_SOURCE_URL"
ALERT_VARIABLE = "MLOPS_ALERT_SECRET"
DEFAULT_SOURCE = "default"
DEFAULT_TRAINER = "mlops_sdk.serving.template.trainers:train"


class TemplateSettings(BaseModel):
    """The template API of one server.

    `folder` holds its jobs, which workers share. `sample_store` is where drift samples go, as fsspec names it (a
    folder, `s3://...`, `gs://...`); by default they are files of their training's run in MLflow. `data_roots` are what
    a `uri` may begin with; by default none may be read. `trainer` is the function that makes a model
    (`package.module:name`). `trainings` is how many run at once; others wait. `drift_every_s` is how often the window
    is looked at, which reaches back `drift_window_s` seconds and holds at most `drift_rows` rows. Secrets come from the
    process environment.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    folder: Path
    sample_store: str | None = None
    data_roots: tuple[str, ...] = ()
    trainer: str = DEFAULT_TRAINER
    trainings: int = Field(default=2, ge=1)
    train_within_s: float = Field(default=6 * 3600.0, gt=0)
    drift_every_s: float = Field(default=60.0, gt=0)
    drift_window_s: float = Field(default=600.0, gt=0)
    drift_rows: int = Field(default=5_000, ge=100)
    drift_rules: Rules = Rules()
    alert_url: str | None = None
    training_queue: str | None = Field(default=None, pattern=r"^[a-z0-9_]{1,48}$")
    sources: Mapping[str, SecretStr] = Field(default_factory=dict, exclude=True)
    alert_secret: SecretStr | None = Field(default=None, exclude=True)
    queue: TrainingQueue | None = Field(default=None, exclude=True)

    @classmethod
    def from_environment(cls, document: Mapping[str, Any], environ: Mapping[str, str] = os.environ) -> Self:
        """The settings of `document`, with the secrets that are in `environ`. Raises InputError for a queue without."""
        found = cls.model_validate(document)
        source, alert = environ.get(SOURCE_VARIABLE), environ.get(ALERT_VARIABLE)
        queue = found.training_queue
        return found.model_copy(
            update={
                "sources": {DEFAULT_SOURCE: SecretStr(source)} if source else {},
                "queue": TrainingQueue.from_environment(queue, environ) if queue else None,
                "alert_secret": SecretStr(alert) if alert else None,
            }
        )
