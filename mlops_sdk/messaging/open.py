"""Which transport an environment's messages take: Pub/Sub where it names a project of Google Cloud, else Postgres."""

from pydantic import SecretStr

from mlops_sdk.messaging.transport import Transport


def open_transport(queue: str, *, conninfo: SecretStr, pubsub_project: str | None) -> Transport:
    """The queue, as the role of `conninfo` or with the process's credentials of Google Cloud. Connects to nothing.

    Raises InputError for a name that no queue can have.
    """
    if pubsub_project:
        from mlops_sdk.messaging.pubsub import PubSubTransport

        return PubSubTransport(pubsub_project, queue)
    from mlops_sdk.messaging.postgres import PostgresTransport

    return PostgresTransport(conninfo, queue)
