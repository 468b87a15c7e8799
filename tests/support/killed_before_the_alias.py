"""The template pipeline's retraining, killed when it has registered a version and is about to make it the champion.

python -m tests.support.killed_before_the_alias --queue QUEUE --mlflow-uri URL
"""

import os
import signal
import sys

from mlflow import MlflowClient

from pipelines.template import retraining


def die(*_: object) -> None:
    """Stands for the call that sets an alias."""
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    MlflowClient.set_registered_model_alias = die  # type: ignore[assignment, method-assign]
    sys.exit(retraining.main())
