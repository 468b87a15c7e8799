"""The template: the model server as a release's service. A retrained version goes live and back."""

from dataclasses import dataclass, field
from typing import Any

from pipelines.template import steps
from tools.demo.pipelines.stage import Changes, Stage
from tools.demo.pipelines.versions import versions

MODEL = "breast-cancer"


@dataclass
class Template:
    """The part of the model server."""

    stage: Stage
    name: str = "template"
    manifest: str = "pipelines/template/releases/v0.0.1.yaml"
    _served: list[str] = field(default_factory=list)

    def prepare(self) -> tuple[Changes, Changes]:
        """Train both models, and one of them once more: the version that retraining would have made."""
        uri = self.stage.settings["MLFLOW_TRACKING_URI"]
        self.stage.python("pipelines.template", "--mlflow-uri", uri)
        first = versions(self.stage, MODEL)[-1]
        self.stage.python("pipelines.template", "--mlflow-uri", uri, MODEL)
        second = versions(self.stage, MODEL)[-1]
        return {"models.tumours.version": first}, {"models.tumours.version": second}

    def use(self, tag: str) -> None:
        """Ask for all tumours at once, and compare with what they are."""
        recipe = steps.recipe_of(MODEL)
        data = steps.read_data(recipe)
        rows = data.drop(columns=recipe.target).to_numpy().tolist()
        answer = self.stage.ask(tag, "POST", "/predict", json={"data": rows})
        right = sum(
            int(said) == int(is_so)
            for said, is_so in zip(answer.json()["predictions"], data[recipe.target], strict=True)
        )
        models = answer.headers["X-MLOps-Models"]
        self.stage.out.say(f"  {right} of {len(rows)} tumours are told rightly by {tag} with {models}")
        self.stage.require(right > 0.95 * len(rows), f"{tag} tells more than 95 % of the tumours rightly")

    def look(self, tag: str) -> object:
        """Which release and version answer, and what, about two tumours."""
        recipe = steps.recipe_of(MODEL)
        rows = steps.read_data(recipe).drop(columns=recipe.target).head(2).to_numpy().tolist()
        answer = self.stage.ask(tag, "POST", "/predict", json={"data": rows})
        seen: dict[str, Any] = {
            "release": answer.headers["X-MLOps-Release"],
            "models": answer.headers["X-MLOps-Models"],
            "predictions": answer.json()["predictions"],
        }
        self.stage.out.say(f"    {seen['release']} with {seen['models']}: {seen['predictions']}")
        self._served.append(seen["models"])
        return seen

    def after(self, tag: str) -> None:
        """The version that answers is the first one again."""
        first, second, last = self._served
        self.stage.require(first == last != second, f"{tag} answers with {last}, and no more with {second}")
