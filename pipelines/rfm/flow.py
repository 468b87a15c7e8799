"""The training flow: thin. What it does is in steps.py, its facts are in the release's variables and nowhere else.

Importing it is quick: steps import scikit-learn and MLflow when they run.
"""

from prefect import flow, get_run_logger

from mlops_sdk.runtime.settings import ServiceSettings


@flow(name="train-customer-value")
def train_customer_value() -> int | None:
    """Train what customers will spend on the release's tables; the version in MLflow, None if it was refused."""
    from pipelines.rfm import steps

    log = get_run_logger()
    version = steps.train_value(ServiceSettings.parse(), log.info)
    log.info("version %s", version or "none: it is no better than the mean")
    return version


if __name__ == "__main__":
    train_customer_value()
