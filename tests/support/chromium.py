"""A headless Chromium, driven over the DevTools protocol: one window, what it shows, and what it asked for.

Skips a test where no Chromium is installed. It must not reach for anything but this machine, and tests see that.
"""

import base64
import itertools
import json
import os
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-default-apps", "--hide-scrollbars",
    "--remote-debugging-port=0", "--remote-allow-origins=*", "--force-device-scale-factor=1", "--lang=en-US",
    # Whatever its own services would look up, and whoever a page named: only this machine answers.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)  # fmt: skip
_PATIENCE_S = 30.0


def find_chromium() -> str:
    """The program, or skip the test."""
    named = os.environ.get("CHROMIUM")
    found = named or next((path for name in _NAMES if (path := shutil.which(name))), None)
    if not found:
        pytest.skip(f"no Chromium is installed: none of {', '.join(_NAMES)}, and CHROMIUM names none")
    return found


class Window:
    """One window. Each method waits for the browser's answer."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._numbers = itertools.count(1)
        self.requested: list[str] = []  # every address that was asked for
        self.complaints: list[
            str
        ] = []  # what the browser wrote to its console, such as refusals by the policy
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the protocol; events that come meanwhile are kept."""
        number = next(self._numbers)
        self._connection.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            message = json.loads(self._connection.recv(timeout=_PATIENCE_S))
            if message.get("id") == number:
                assert "error" not in message, (method, message["error"])
                return dict(message["result"])
            self._event(message)

    def _event(self, message: dict[str, Any]) -> None:
        params = message.get("params", {})
        match message.get("method"):
            case "Network.requestWillBeSent":
                self.requested.append(params["request"]["url"])
            case "Log.entryAdded":
                self.complaints.append(params["entry"]["text"])
            case "Runtime.exceptionThrown":
                self.complaints.append(json.dumps(params["exceptionDetails"]))

    def run(self, script: str) -> Any:
        """The value of an expression of JavaScript, once it is settled."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait_for(self, script: str) -> Any:
        """The value of an expression as soon as it is truthy."""
        return self.wait_until(lambda: self.run(script), script)

    def wait_until(self, seen: Callable[[], Any], what: str) -> Any:
        """What `seen` gives as soon as it is truthy."""
        deadline = time.monotonic() + _PATIENCE_S
        while not (value := seen()):
            assert time.monotonic() < deadline, f"not within {_PATIENCE_S:.0f} s: {what}"
            time.sleep(0.05)
        return value

    def open(self, address: str) -> None:
        """Go to an address, and wait until the page is whole."""
        self.call("Page.navigate", url=address)
        self.wait_for(
            f"location.href.startsWith({json.dumps(address)}) && document.readyState === 'complete'"
        )

    def look_like(self, *, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        """Size of the window, and which colours its person prefers."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def press(self, key: str, code: int, *, text: str = "") -> None:
        """Press and let go of a key."""
        values = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", type="keyDown", **values, **({"text": text} if text else {}))
        self.call("Input.dispatchKeyEvent", type="keyUp", **values)

    def tab(self) -> str:
        """Press Tab; the id (or else the text) of what then has the focus."""
        self.press("Tab", 9)
        return str(self.run("document.activeElement.id || document.activeElement.textContent.trim()"))

    def shoot(self, path: Path, *, whole: bool = True) -> Path:
        """A picture of the page, PNG."""
        answer = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(answer["data"]))
        return path


@contextmanager
def window() -> Iterator[Window]:
    """A window of a browser of its own, with an empty profile."""
    program = find_chromium()
    with tempfile.TemporaryDirectory(prefix="mlops-chromium-", ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [program, *_FLAGS, f"--user-data-dir={profile}", "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": profile},
        )
        try:
            port = _port(process, Path(profile))
            with connect(_debugger(port), max_size=None) as connection:
                yield Window(connection)
        finally:
            process.terminate()
            process.wait(20)


def _port(process: subprocess.Popen[bytes], profile: Path) -> int:
    deadline = time.monotonic() + _PATIENCE_S
    file = profile / "DevToolsActivePort"
    while True:
        lines = file.read_text().splitlines() if file.exists() else []
        if len(lines) > 1:
            return int(lines[0])
        assert process.poll() is None, f"Chromium ended with {process.returncode}"
        assert time.monotonic() < deadline, "Chromium did not say where it listens"
        time.sleep(0.05)


def _debugger(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=10) as answer:
        pages = [target for target in json.load(answer) if target["type"] == "page"]
    return str(pages[0]["webSocketDebuggerUrl"])


@pytest.fixture
def browser() -> Iterator[Window]:
    """A window, or a skipped test."""
    with window() as opened:
        yield opened
