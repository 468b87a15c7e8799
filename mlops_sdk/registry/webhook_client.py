"""Registers a webhook in MLflow: where to tell of new versions and aliases. It must not derive or log the secret.

Protocol: https://mlflow.org/docs/latest/ml/webhooks/
"""

from dataclasses import dataclass

from pydantic import SecretStr

from mlops_sdk.registry.rest import MlflowRest, connect

_EVENTS = [
    {"entity": "MODEL_VERSION", "action": "CREATED"},
    {"entity": "MODEL_VERSION_ALIAS", "action": "CREATED"},
]


@dataclass(frozen=True)
class Webhook:
    """A webhook that MLflow has, and whether it is a new one."""

    id: str
    name: str
    url: str
    created: bool


def register_webhook(uri: str, *, name: str, url: str, secret: SecretStr, timeout_s: float = 3.0) -> Webhook:
    """Make the MLflow server at `uri` send signed news of versions and aliases to `url`.

    A webhook of that name is changed, not made twice. Raises UnreachableError, AuthError, and MlopsError with MLflow's
    own words for an address that it does not allow.
    """
    body = {
        "name": name,
        "url": url,
        "events": _EVENTS,
        "secret": secret.get_secret_value(),
        "status": "ACTIVE",
    }
    with connect(uri, connect_timeout_s=timeout_s) as mlflow:
        known = _find(mlflow, name)
        verb, path = ("PATCH", f"webhooks/{known}") if known else ("POST", "webhooks")
        answer = mlflow.send(verb, path, body)
    found = answer["webhook"]
    return Webhook(str(found["webhook_id"]), str(found["name"]), str(found["url"]), created=not known)


def _find(mlflow: MlflowRest, name: str) -> str:
    """The id of the webhook of that name, or empty."""
    token = ""
    while True:
        page = mlflow.get("webhooks", max_results="100", page_token=token)
        for webhook in page.get("webhooks", []):
            if webhook["name"] == name:
                return str(webhook["webhook_id"])
        token = str(page.get("next_page_token", ""))
        if not token:
            return ""
