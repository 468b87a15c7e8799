"""A release's own service is asked on its own port, in plain HTTP, whatever proxies a shell names."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from mlops_sdk.errors import UnreachableError
from mlops_sdk.release.binding import Binding
from mlops_sdk.rollout.verify.service import readiness, runs, scrape
from mlops_sdk.stack.ports import free_ports

DIGEST = "sha256:" + "a" * 64


def binding(port: int) -> Binding:
    return Binding(
        environment="local",
        digest=DIGEST,
        release="v0.0.1",
        seq=1,
        pg_schema="rel",
        role="rel",
        service_port=port,
    )


@contextmanager
def serving(*answers: tuple[int, str]) -> Iterator[Binding]:
    """A service that gives these answers one after the other, the last one for ever."""
    left = list(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            code, text = left.pop(0) if len(left) > 1 else left[0]
            self.send_response(code)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield binding(server.server_port)
        server.shutdown()
        thread.join()


def ready(digest: str = DIGEST) -> tuple[int, str]:
    return 200, json.dumps({"ready": True, "digest": digest})


def test_a_service_that_is_not_ready_yet_is_waited_for() -> None:
    with serving((503, json.dumps({"ready": False})), (503, "{}"), ready()) as found:
        assert readiness(found, timeout_s=20) == (200, {"ready": True, "digest": DIGEST})


def test_what_a_service_says_last_is_told_when_it_never_becomes_ready() -> None:
    with serving((503, json.dumps({"problems": ["no models"]}))) as found:
        assert readiness(found, timeout_s=0.3) == (503, {"problems": ["no models"]})


@pytest.mark.parametrize(
    ("answer", "said"),
    [(ready(), True), (ready("sha256:other"), False), ((503, ready()[1]), False), ((200, "no JSON"), False)],
)
def test_a_release_runs_if_its_service_is_ready_and_names_its_digest(
    answer: tuple[int, str], said: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with serving(answer) as found:
        assert runs(found) is said


def test_where_nobody_listens_nothing_runs_and_an_error_names_the_address() -> None:
    nobody = binding(free_ports(1)[0])
    assert runs(nobody) is False
    with pytest.raises(UnreachableError, match=f"{nobody.service_port}: the service did not answer"):
        readiness(nobody, timeout_s=0.2)
    with pytest.raises(UnreachableError, match="metrics cannot be read"):
        scrape(nobody)


@pytest.mark.parametrize("answer", [(500, "broken"), (200, "no metrics {")])
def test_metrics_that_are_none_are_an_error(answer: tuple[int, str]) -> None:
    with serving(answer) as found, pytest.raises(UnreachableError, match="metrics cannot be read"):
        scrape(found)


def test_who_plans_rolls_back_or_asks_waits_for_no_http_client_to_be_imported() -> None:
    code = (
        "import sys; from mlops_sdk.rollout.questions import ask;"
        "from mlops_sdk.rollout.deploy import planning, rollback;"
        "print([m for m in ('httpx', 'requests', 'sqlalchemy', 'mlflow', 'prefect') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
