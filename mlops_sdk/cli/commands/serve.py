"""`mlops serve --model models:/NAME@ALIAS`: a model server of its own."""

import os
from typing import Annotated

import typer

from mlops_sdk.cli.options import EnvironmentOption


def serve(
    model: Annotated[
        str,
        typer.Option("--model", help="models:/NAME/VERSION or models:/NAME@ALIAS.", metavar="URI"),
    ],
    mlflow_uri: Annotated[
        str | None,
        typer.Option("--mlflow-uri", help="An MLflow server. Default: the environment's own.", metavar="URL"),
    ] = None,
    environment: EnvironmentOption = "local",
    host: Annotated[
        str, typer.Option("--host", help="Where to listen. Anything but this machine lets others ask.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="Where to listen.", min=1, max=65535)] = 8080,
    workers: Annotated[int, typer.Option("--workers", help="Processes that answer.", min=1, max=64)] = 1,
    allow_model: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-model",
            help="A name that /update-model may load, such as iris or 'iris-*'. Default: the model's own.",
            metavar="PATTERN",
        ),
    ] = None,
    key_header: Annotated[
        str,
        typer.Option(
            "--key-header",
            help="A request header: requests with the same value stay with the same slot.",
            metavar="NAME",
        ),
    ] = "",
    sticky_cookie: Annotated[
        bool,
        typer.Option(
            "--sticky-cookie", help="Give who sends no key a cookie, so that they stay with a slot."
        ),
    ] = False,
    shadow_share: Annotated[
        float, typer.Option("--shadow-share", help="Share of requests that `next` sees too.", min=0, max=1)
    ] = 0.0,
    public_schema: Annotated[
        bool, typer.Option("--public-schema", help="Tell a model's inputs to who has no token.")
    ] = False,
    sample_store: Annotated[
        str | None,
        typer.Option(
            "--sample-store",
            help="Where /train keeps drift samples: a folder, s3://..., gs://... Default: with its run in MLflow.",
            metavar="URI",
        ),
    ] = None,
    data_root: Annotated[
        list[str] | None,
        typer.Option(
            "--data-root", help="What a request's data URI may begin with. Default: none.", metavar="URI"
        ),
    ] = None,
    trainer: Annotated[
        str | None,
        typer.Option(
            "--trainer", help="What /train calls. Default: scikit-learn's.", metavar="PACKAGE.MODULE:NAME"
        ),
    ] = None,
    alert_url: Annotated[
        str | None, typer.Option("--alert-url", help="A webhook that is told of drift.", metavar="URL")
    ] = None,
    training_queue: Annotated[
        str | None,
        typer.Option(
            "--training-queue",
            help="A queue of the database MLOPS_QUEUE_URL, or of Pub/Sub in MLOPS_PUBSUB_PROJECT, that is asked for a "
            "training on drift; an environment's own is mlops_trainings.",
            metavar="NAME",
        ),
    ] = None,
    drift_every: Annotated[
        float, typer.Option("--drift-every", help="Seconds between two checks for drift.", min=0.1)
    ] = 60.0,
) -> None:
    """Serve a model of the registry.

    Serve a model of the registry: the canary API, the Open Inference Protocol, MLflow's /invocations. In the
    foreground, until it is stopped. Calls that change something need the token of MLOPS_SERVE_TOKEN.
    """
    from mlops_sdk.serving.server.command import Wanted, serve_model

    serve_model(
        Wanted(
            model=model,
            mlflow_uri=mlflow_uri,
            environment=environment,
            host=host,
            port=port,
            workers=workers,
            allowed_models=tuple(allow_model or ()),
            key_header=key_header,
            sticky_cookie=sticky_cookie,
            shadow_share=shadow_share,
            public_schema=public_schema,
            template={
                "sample_store": sample_store,
                "data_roots": tuple(data_root or ()),
                "trainer": trainer,
                "alert_url": alert_url,
                "training_queue": training_queue,
                "drift_every_s": drift_every,
            },
        ),
        environ=os.environ,
        report=lambda line: typer.echo(line, err=True),
    )
