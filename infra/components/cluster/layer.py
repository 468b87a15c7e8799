"""A layer of variables on a cluster: a ConfigMap and a Secret of one name, which a pod gets by `envFrom`."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_kubernetes import core

from infra import manifests, variables
from infra.cluster import ClusterSettings
from mlops_sdk.stack.config import ReleaseSection


@dataclass(frozen=True)
class LayerArgs:
    """`shown` are the variables that are no secret, `secrets` the others, each a Pulumi secret.

    A shown one may be known only once something else is made.
    """

    settings: ClusterSettings[Any]
    shown: Mapping[str, pulumi.Input[str]]
    secrets: Mapping[str, pulumi.Input[str]]
    section: ReleaseSection | None = None


class Layer(pulumi.ComponentResource):
    """ConfigMap and Secret. What is secret is in no ConfigMap; a layer without shown variables has none.

    `digest` covers both, for pods that must start anew when a variable changes. It says nothing of a secret: among
    them is always one that is derived from 256 random bits.
    """

    digest: pulumi.Output[str]

    def __init__(self, name: str, args: LayerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mlops-sdk:cluster:Layer", name, None, opts)
        inside = pulumi.ResourceOptions(parent=self)
        metadata = manifests.metadata(args.settings, name, "variables", args.section)
        if args.shown:
            core.v1.ConfigMap(f"{name}-shown", metadata=metadata, data=dict(args.shown), opts=inside)
        secrets = {key: variables.marked(value) for key, value in args.secrets.items()}
        core.v1.Secret(f"{name}-secret", metadata=metadata, type="Opaque", string_data=secrets, opts=inside)
        self.digest = pulumi.Output.unsecret(pulumi.Output.all(**args.shown, **secrets).apply(digest_of))
        self.register_outputs({"digest": self.digest})


def digest_of(values: Mapping[str, str]) -> str:
    """sha256 of variables, in hex. Pure."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
