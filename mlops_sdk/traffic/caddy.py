"""Caddy's config for a router that is never reloaded. Pure.

Every reload of Caddy's config drops requests, so the config is static: addresses and shares are files
of the router's folder, which Caddy reads at each request (`router_files` replaces them). Caddy runs
in that folder and names them without a path, so no character of the path can matter.
"""

import json
from typing import Any

from mlops_sdk.release.buckets import BUCKET_HEADER, SLOT_HEADER

CURRENT_FILE = "current"
NEXT_FILE = "next"
SHARE_FILE = "share"
KEYLESS_FILE = "keyless"

HEALTH_PATH = "/_mlops/router"
"""Answered with 200 by the router itself, whether or not there is a release."""

_NOTHING_LIVE = {
    "error": "no release is live in this environment",
    "remedy": "mlops deploy stacks/releases/TAG.yaml",
}
# While a killed service is started again, its requests wait instead of failing.
_PATIENCE = {"try_duration": "5s", "try_interval": "50ms"}
# Shorter than uvicorn keeps idle connections: a POST on one that the service is just closing
# cannot be repeated, so the router is to close first.
_TRANSPORT = {
    "protocol": "http",
    "dial_timeout": "2s",
    "keep_alive": {"idle_timeout": "2s", "max_idle_conns_per_host": 64},
}


def caddy_config(port: int) -> dict[str, Any]:
    """Config as JSON for a router on `port` of 127.0.0.1; admin interface, access log and TLS are off."""
    server = {
        "listen": [f"127.0.0.1:{port}"],
        "protocols": ["h1"],
        "automatic_https": {"disable": True},
        "routes": [_health(), _variables(), _no_release(), _to_next(), _to_current()],
        "errors": {"routes": [_no_answer()]},
    }
    return {
        "admin": {"disabled": True, "config": {"persist": False}},
        "logging": {"logs": {"default": {"level": "ERROR"}}},
        "apps": {"http": {"grace_period": "10s", "servers": {"router": server}}},
    }


def _health() -> dict[str, Any]:
    answer = {"handler": "static_response", "status_code": 200, "body": "ok\n"}
    return {"match": [{"path": [HEALTH_PATH]}], "handle": [answer], "terminal": True}


def _variables() -> dict[str, Any]:
    # Read once a request, so that one request sees one state of the files.
    names = {
        "mlops_current": CURRENT_FILE,
        "mlops_next": NEXT_FILE,
        "mlops_share": SHARE_FILE,
        "mlops_keyless": KEYLESS_FILE,
    }
    return {"handle": [{"handler": "vars", **{key: f"{{file.{name}}}" for key, name in names.items()}}]}


def _no_release() -> dict[str, Any]:
    return {
        "match": [{"vars": {"{http.vars.mlops_current}": [""]}}],
        "handle": [_unavailable(json.dumps(_NOTHING_LIVE))],
        "terminal": True,
    }


def _to_next() -> dict[str, Any]:
    """Requests whose bucket, or whose chance if they name none, is among the share of `next`.

    A `next` that does not accept connections is passed over: the same request goes to `current`, and
    for a second nobody tries `next` again.
    """
    named = {"header_regexp": {BUCKET_HEADER: {"pattern": "^[0-9a-f][0-9a-f]$"}}}
    apart = [
        {"header": {SLOT_HEADER: ["current"]}},
        {"vars": {"{http.vars.mlops_next}": [""]}},
    ]
    by_bucket = f"{{http.request.header.{BUCKET_HEADER}}} < {{http.vars.mlops_share}}"
    by_chance = "{http.request.uuid} < {http.vars.mlops_keyless}"
    proxy = {
        **_proxy("{http.vars.mlops_next}", "{http.vars.mlops_current}"),
        "health_checks": {"passive": {"fail_duration": "1s", "max_fails": 1}},
    }
    return {
        "match": [
            {**named, "expression": by_bucket, "not": apart},
            {"expression": by_chance, "not": [*apart, named]},
        ],
        "handle": [proxy],
        "terminal": True,
    }


def _to_current() -> dict[str, Any]:
    return {"handle": [_proxy("{http.vars.mlops_current}")], "terminal": True}


def _proxy(*addresses: str) -> dict[str, Any]:
    return {
        "handler": "reverse_proxy",
        "upstreams": [{"dial": address} for address in addresses],
        "load_balancing": {"selection_policy": {"policy": "first"}, **_PATIENCE},
        "transport": _TRANSPORT,
    }


def _no_answer() -> dict[str, Any]:
    body = json.dumps({"error": "the service of the live release does not answer"})
    return {"handle": [_unavailable(body)]}


def _unavailable(body: str) -> dict[str, Any]:
    return {
        "handler": "static_response",
        "status_code": 503,
        "headers": {"Content-Type": ["application/json"], "Retry-After": ["1"]},
        "body": body + "\n",
    }
