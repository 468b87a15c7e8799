"""One load on one server: wrk with 16 connections, pinned to a core that the server does not have."""

import json
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

CONNECTIONS = 16

_SCRIPT = """\
wrk.method = "POST"
local file = io.open("{body}", "rb")
wrk.body = file:read("*a")
file:close()
{headers}
done = function(summary, latency)
  local e = summary.errors
  io.stdout:write(string.format('{{"requests": %d, "us": %d, "p50": %f, "p99": %f, "failed": %d}}',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    e.connect + e.read + e.write + e.status + e.timeout))
end
"""


@dataclass(frozen=True)
class Request:
    """What is sent to `url` all the time; files for wrk are written as `name` into the bench's folder."""

    name: str
    url: str
    body: bytes
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Loaded:
    """What one load saw: requests in a second, seconds of the 50th and 99th percentile."""

    per_second: float
    p50_s: float
    p99_s: float


class LoadError(Exception):
    """A server failed a request, or the load generator is not there."""


def load(request: Request, *, seconds: float, core: int, folder: Path) -> Loaded:
    """Send `request` for so long. Raises LoadError if one request fails: a figure with errors is none."""
    if not shutil.which("wrk"):
        raise LoadError("wrk is not installed (Debian: apt-get install wrk)")
    body, script = folder / f"{request.name}.body", folder / f"{request.name}.lua"
    body.write_bytes(request.body)
    headers = "\n".join(f'wrk.headers["{name}"] = "{value}"' for name, value in request.headers.items())
    script.write_text(_SCRIPT.format(body=body, headers=headers))
    command = [
        "taskset",
        "-c",
        str(core),
        "wrk",
        "-t1",
        f"-c{CONNECTIONS}",
        f"-d{seconds:g}s",
        "-s",
        str(script),
    ]
    done = subprocess.run([*command, request.url], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout[done.stdout.index("{") :])
    if found["failed"] or not found["requests"]:
        raise LoadError(f"{request.name}: {found['failed']} of {found['requests']} requests failed")
    return Loaded(found["requests"] / (found["us"] / 1e6), found["p50"] / 1e6, found["p99"] / 1e6)
