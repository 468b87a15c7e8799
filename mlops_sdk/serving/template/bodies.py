"""The bodies of the template API. Strict: an unknown field or another type is a fault that is named."""

from typing import Any, Literal

from pydantic import ConfigDict, Field, model_validator

from mlops_sdk.serving.template.data import Data


class Train(Data):
    """Train a model of the registry from a table; `target` is the column to predict.

    `parameters` are the trainer's. `alias` is set on the new version. `async` answers at once, with a job to ask for.
    """

    model_config = ConfigDict(extra="forbid", strict=True, populate_by_name=True, protected_namespaces=())

    registered_model_name: str = Field(
        min_length=1, max_length=200, pattern=r"^[^/:@\s']+$", examples=["iris"]
    )
    target: str = Field(min_length=1, examples=["species"])
    task: Literal["classification", "regression"] | None = None
    estimator: str = Field(default="random_forest", examples=["linear", "random_forest", "gradient_boosting"])
    parameters: dict[str, Any] = Field(default_factory=dict)
    alias: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_-]{1,100}$")
    seed: int = Field(default=0, ge=0, lt=2**32)
    is_async: bool = Field(default=False, alias="async")


class Inference(Data):
    """Predict the rows of a table with the current model. `entity` is `TABLE:KEY` of whom they are about."""

    entity: str | None = Field(default=None, max_length=200, pattern=r"^[^:\s]+:.+$")


class Evaluation(Data):
    """Compare the current model's predictions with the column `target`."""

    target: str = Field(min_length=1)
    task: Literal["classification", "regression"] | None = None


class DataDrift(Data):
    """Compare a table with a baseline: another one, or the sample tied to the current model version."""

    baseline: Data | None = None

    @model_validator(mode="before")
    @classmethod
    def _subject(cls, values: Any) -> Any:
        """Also `{"subject": {...}, "baseline": {...}}`, which says the same more evenly."""
        if isinstance(values, dict) and isinstance(values.get("subject"), dict):
            rest = {key: value for key, value in values.items() if key != "subject"}
            return {**values["subject"], **rest}
        return values
