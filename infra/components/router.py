"""The router: where users' requests arrive."""

import pulumi

from infra import naming
from infra.settings import Settings
from mlops_sdk.provider import programs
from mlops_sdk.provider.resources import Process, Route


class Router(pulumi.ComponentResource):
    """Caddy with a static config. It starts anew only when that config changes, never for a release."""

    def __init__(self, name: str, settings: Settings, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mlops-sdk:local:Router", name, None, opts)
        route = Route("route", port=settings.ports.router, opts=pulumi.ResourceOptions(parent=self))
        place = naming.place(settings.project, settings.environment)
        Process(
            name,
            program=programs.router(place, port=settings.ports.router),
            triggers=[route.digest],
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({})
