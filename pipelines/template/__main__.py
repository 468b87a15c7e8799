"""`python -m pipelines.template --mlflow-uri URL [MODEL ...]`: train on this machine, without a flow."""

import argparse
import sys
from collections.abc import Sequence

from mlops_sdk.errors import MlopsError
from pipelines.template import steps


def main(arguments: Sequence[str] | None = None) -> int:
    """Train the named models, all by default; print what came of each."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.template")
    parser.add_argument("--mlflow-uri", required=True)
    parser.add_argument("--sample-store", help="default: with the run in MLflow")
    parser.add_argument("models", nargs="*", metavar="MODEL")
    given = parser.parse_args(arguments)
    try:
        recipes = [steps.recipe_of(name) for name in given.models] or list(steps.RECIPES)
        for recipe in recipes:
            trained = steps.train_model(recipe, given.mlflow_uri, sample_store=given.sample_store)
            accuracy = trained.metrics["held_out_accuracy"]
            sys.stdout.write(
                f"models:/{recipe.model}/{trained.model_version}: accuracy {accuracy:.3f} on"
                f" {trained.drift_sample['rows']} rows held out, run {trained.run_name}\n"
            )
    except MlopsError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
