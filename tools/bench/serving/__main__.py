"""Run the benches of the model server: `python -m tools.bench.serving [--quick] [--only NAME]...`

A full run writes its part of `docs/benchmarks.md`; with `--quick` or `--only` it only prints. A bench that fails
is listed as left out with its error, the others go on, and the exit code is 1.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil

from mlops_sdk.release.buckets import BUCKET_HEADER
from tools.bench.figures import Bar, Figure
from tools.bench.page import ROOT
from tools.bench.running import Found, Results, Say, command_line
from tools.bench.serving.comparing import FULL, QUICK, Sizes, figures, rounds
from tools.bench.serving.load import Request
from tools.bench.serving.servers import LOAD_CORE, TOKEN, Servers
from tools.bench.state import server as postgres

_JSON = {"Content-Type": "application/json"}
_ONE_ROW = "one row a request, 16 connections, one core"

Rows = dict[str, list[list[float]]]


class Bench:
    """What every bench needs: servers, models' names with rows, and how long to measure."""

    def __init__(self, servers: Servers, registry: str, rows: Rows, sizes: Sizes, say: Say) -> None:
        self.servers = servers
        self.registry = registry
        self.rows = rows
        self.sizes = sizes
        self.say = say

    def ours(self, model: str, *options: str, called: str = "", **variables: str) -> str:
        """Start `mlops serve`; its name."""
        name = called or f"mlops-{model}"
        self.servers.ours(name, model, self.registry, list(options), variables)
        return name

    def measure(self, *requests: Request) -> dict[str, list[Any]]:
        """Load the servers of `requests` in turn."""
        return rounds(requests, self.sizes, self.servers.folder, self.say)

    def predict(self, server: str, model: str, count: int = 1) -> Request:
        """The canary API's request."""
        return self._json(server, "/predict", {"data": self.rows[model][:count]})

    def invocations(self, server: str, model: str, count: int = 1) -> Request:
        """MLflow's request, in its cheapest form."""
        return self._json(server, "/invocations", {"inputs": self.rows[model][:count]})

    def infer(self, server: str, model: str, count: int = 1) -> Request:
        """The Open Inference Protocol's request."""
        rows = self.rows[model][:count]
        tensor = {"name": "predict", "shape": [count, len(rows[0])], "datatype": "FP64"}
        return self._json(
            server,
            f"/v2/models/{model}/infer",
            {"inputs": [{**tensor, "data": list(chain.from_iterable(rows))}]},
        )

    def binary(self, server: str, model: str, count: int) -> Request:
        """The same with binary tensors, both ways."""
        data = np.array(self.rows[model][:count], dtype="<f8").tobytes()
        tensor = {
            "name": "predict",
            "shape": [count, len(self.rows[model][0])],
            "datatype": "FP64",
            "parameters": {"binary_data_size": len(data)},
        }
        head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
        headers = {
            "Content-Type": "application/octet-stream",
            "Inference-Header-Content-Length": str(len(head)),
        }
        url = f"{self.servers.url(server)}/v2/models/{model}/infer"
        return Request(f"{server}-binary", url, head + data, headers)

    def _json(self, server: str, path: str, body: dict[str, Any]) -> Request:
        return Request(server, self.servers.url(server) + path, json.dumps(body).encode(), _JSON)


def linear(bench: Bench) -> Found:
    """One row of a linear model, beside MLflow, MLServer and a bare echo."""
    bench.servers.echo()  # answers whatever the path
    ours = bench.ours("linear")
    bench.servers.mlflow("mlflow-linear", "linear")
    bench.servers.mlserver("mlserver-linear", "linear")
    found = bench.measure(
        bench.predict(ours, "linear"),
        bench.predict("echo", "linear"),
        bench.invocations("mlflow-linear", "linear"),
        bench.infer("mlserver-linear", "linear"),
    )
    bars = {
        "mlflow-linear": ("`mlflow models serve`", 20.0),
        "mlserver-linear": ("MLServer with adaptive batching", 14.0),
        "echo": ("a bare ASGI echo", 0.55),
    }
    p99 = [each.p99_s * 1000 for each in found[ours]]
    return [
        *figures("linear model", _ONE_ROW, found, ours, bars),
        Figure("linear model: 99th percentile of latency", _ONE_ROW, "ms", p99, Bar(3.0)),
    ], []


def trees(bench: Bench) -> Found:
    """One row of a random forest of 100 trees and 30 features."""
    ours = bench.ours("trees")
    bench.servers.mlflow("mlflow-trees", "trees")
    bench.servers.mlserver("mlserver-trees", "trees")
    found = bench.measure(
        bench.predict(ours, "trees"),
        bench.invocations("mlflow-trees", "trees"),
        bench.infer("mlserver-trees", "trees"),
    )
    bars = {
        "mlflow-trees": ("`mlflow models serve`", 30.0),
        "mlserver-trees": ("MLServer with adaptive batching", 13.0),
    }
    p99 = [each.p99_s * 1000 for each in found[ours]]
    what = "100 trees x 30 features"
    return [
        *figures(what, _ONE_ROW, found, ours, bars),
        Figure(f"{what}: 99th percentile of latency", _ONE_ROW, "ms", p99, Bar(3.0)),
    ], []


def own(bench: Bench) -> Found:
    """One row of models that are not compiled: their own predict."""
    all_figures: list[Figure] = []
    for model, called in (("svc", "SVC, not compiled"), ("mlp", "MLPClassifier, not compiled")):
        ours = bench.ours(model)
        bench.servers.mlflow(f"mlflow-{model}", model)
        bench.servers.mlserver(f"mlserver-{model}", model)
        found = bench.measure(
            bench.predict(ours, model),
            bench.invocations(f"mlflow-{model}", model),
            bench.infer(f"mlserver-{model}", model),
        )
        bars = {
            f"mlflow-{model}": ("`mlflow models serve`", 6.0),
            f"mlserver-{model}": ("MLServer with adaptive batching", 5.0),
        }
        all_figures += figures(called, _ONE_ROW, found, ours, bars)
    return all_figures, []


def many_rows(bench: Bench) -> Found:
    """100 rows of 30 features, as JSON and as a binary tensor, beside MLflow."""
    how = "100 rows x 30 features a request, 16 connections, one core"
    ours = bench.ours("linear30")
    bench.servers.mlflow("mlflow-linear30", "linear30")
    found = bench.measure(
        bench.predict(ours, "linear30", 100),
        bench.binary(ours, "linear30", 100),
        bench.invocations("mlflow-linear30", "linear30", 100),
    )
    called = "`mlflow models serve`"
    as_json = {name: seen for name, seen in found.items() if not name.endswith("-binary")}
    as_binary = {f"{ours}-binary": found[f"{ours}-binary"], "mlflow-linear30": found["mlflow-linear30"]}
    binary = figures(
        "100 rows, binary", how, as_binary, f"{ours}-binary", {"mlflow-linear30": (called, 20.0)}
    )
    return [
        *figures("100 rows, JSON", how, as_json, ours, {"mlflow-linear30": (called, 10.0)}),
        *(figure for figure in binary if "mlflow-linear30" not in figure.name),
    ], []


def features(bench: Bench) -> Found:
    """What all features cost: the prediction log, and two slots with half of the traffic each, sticky and compared."""
    with postgres.server() as server, postgres.database(server, "bench_serving") as name:
        _pin_postgres()
        conninfo = server.conninfo(name).get_secret_value()
        plain = bench.ours("linear", called="plain")
        full = bench.ours(
            "linear", "--key-header", "X-User-Id", called="all-features", MLOPS_PREDICTION_LOG_URL=conninfo
        )
        headers = {"Authorization": f"Bearer {TOKEN}"}
        with httpx.Client(
            base_url=bench.servers.url(full), headers=headers, trust_env=False, timeout=60
        ) as http:
            http.post("/update-model", json={"model_uri": "models:/linear/1"}).raise_for_status()
            http.post("/set-canary-probability", json={"probability": 0.5}).raise_for_status()
        by = {
            "the key of one user": ("X-User-Id", "7"),
            "a bucket, as a router or a cookie gives it": (BUCKET_HEADER, "7f"),
        }
        pairs = {
            how: [_with(bench.predict(name, "linear"), *header) for name in (plain, full)]
            for how, header in by.items()
        }
        with server.admin(name) as conn:  # the log's connection is there with its first row
            httpx.post(
                bench.predict(full, "linear").url, json={"data": bench.rows["linear"][:1]}, trust_env=False
            )
            while not conn.execute("SELECT 1 FROM mlops.prediction_log LIMIT 1").fetchone():
                time.sleep(0.1)
        _pin_postgres()
        found = bench.measure(*chain.from_iterable(pairs.values()))
        with server.admin(name) as conn:
            row = conn.execute("SELECT count(*) FROM mlops.prediction_log").fetchone()
        dropped = _total(bench.servers.url(full), "mlops_predictions_dropped_total")
    note = (
        "All features: both servers get the same request. Postgres has the load's core and gives way to it."
        f" {row[0] if row else 0:,} predictions are in the log, {dropped:,.0f} were dropped."
    )
    return [
        Figure(
            "linear model: all features on cost",
            f"prediction log, canary at 0.5 sticky by {how}; metrics and the drift window are on in both",
            "%",
            [
                100 * (1 - with_all.per_second / without.per_second)
                for without, with_all in zip(found[pair[0].name], found[pair[1].name], strict=True)
            ],
            Bar(15.0),
        )
        for how, pair in pairs.items()
    ], [note]


def _with(request: Request, header: str, value: str) -> Request:
    name = f"{request.name}-{header}"
    return Request(name, request.url, request.body, {**request.headers, header: value})


def _pin_postgres() -> None:
    """Postgres is no part of the server's process tree, so it shares the core of the load, and gives way to it.

    Elsewhere it has a machine of its own; here a load that waits for it would be taken for a slow server. Linux shares
    a core among sessions first (autogroup, sched(7)), and each process of Postgres has one of its own.
    """
    ours = _autogroup(os.getpid())
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess, FileNotFoundError):  # autovacuum's workers come and go
            if process.name() != "postgres":
                continue
            process.cpu_affinity([LOAD_CORE])
            process.nice(19)
            if _autogroup(process.pid) != ours:
                Path(f"/proc/{process.pid}/autogroup").write_text("19")


def _autogroup(pid: int) -> str:
    """The session's name as the scheduler has it; empty where it has none."""
    path = Path(f"/proc/{pid}/autogroup")
    return path.read_text().split()[0] if path.exists() else ""


def _total(url: str, metric: str) -> float:
    lines = httpx.get(f"{url}/metrics", trust_env=False, timeout=60).text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(metric))


BENCHES: dict[str, Callable[[Bench], Found]] = {
    "linear": linear,
    "trees": trees,
    "own": own,
    "many-rows": many_rows,
    "features": features,
}


def run(names: list[str], *, quick: bool) -> Results:
    """Run these benches one after the other, each with its own servers."""
    results = Results()
    results.notes.append(
        "Each server's process tree is pinned to core 0, wrk with one thread and 16 connections to core 1. All"
        " servers of a bench run at once and are asked in turn; a load with a failed request is no figure."
        " Peers: MLflow 3.17.2 (tensor signature, uvloop, httptools), MLServer 1.7.1 (batches up to 64 or 1 ms)."
    )
    results.notes.append(
        f"When it began, {os.getloadavg()[0]:.1f} processes of this machine wanted a core; servers and wrk ran at nice"
        f" {os.nice(0)}. Absolute figures are those of such a machine, ratios are of loads seconds apart."
    )
    sizes = QUICK if quick else FULL
    with tempfile.TemporaryDirectory(prefix="mlops-bench-serving-") as name:
        folder = Path(name)
        with Servers(folder, results.say) as registry:
            uri = registry.mlflow_registry()
            results.say("training the models")
            done = subprocess.run(
                [sys.executable, "-m", "tools.bench.serving.train", uri, name],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            )
            rows: Rows = json.loads(done.stdout.splitlines()[-1])
            for bench in names:
                with Servers(folder, results.say) as servers:
                    parts = Bench(servers, uri, rows, sizes, results.say)
                    results.take(bench, partial(BENCHES[bench], parts))
    results.end()
    return results


if __name__ == "__main__":
    sys.exit(command_line("serving", run, BENCHES, __doc__))
