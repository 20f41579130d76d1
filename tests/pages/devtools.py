"""A browser that is told what to do by the devtools protocol, over a pair of pipes: no driver and no port is needed."""

from __future__ import annotations

import base64
import json
import os
import select
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs

SECONDS = 60  # in which a browser answers on any machine
_TO_BROWSER, _FROM_BROWSER = 3, 4  # the descriptors that the browser reads and writes


class BrowserFailed(Exception):
    """The browser did not do what it was told."""


@attrs.define
class Browser:
    """One tab of a browser; what it requested and what went wrong in it is kept.

    Attributes:
        requests: the URL of each request.
        errors: of scripts, of the console, and of the page's policy.
    """

    _write: int
    _read: int
    requests: list[str] = attrs.field(factory=list, init=False)
    errors: list[str] = attrs.field(factory=list, init=False)
    _events: list[str] = attrs.field(factory=list, init=False)
    _rest: bytes = attrs.field(default=b"", init=False)
    _number: int = attrs.field(default=0, init=False)
    _session: str | None = attrs.field(default=None, init=False)

    def begin(self) -> None:
        """Open a tab, and listen to all that happens in it."""
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.ask(f"{domain}.enable")

    def open(self, url: str) -> None:
        """Load a page, and return when it is there."""
        self._events.clear()
        self.ask("Page.navigate", url=url)
        until = time.monotonic() + SECONDS
        while "Page.loadEventFired" not in self._events:
            self._take(until)

    def width(self, width: int, *, height: int = 900) -> None:
        """Be a screen of this width in pixels."""
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def media(self, *, scheme: str = "light", kind: str = "screen") -> None:
        """Prefer light or dark, and be a screen or paper."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.ask("Emulation.setEmulatedMedia", media=kind, features=features)

    def run(self, script: str) -> Any:
        """Give the value of an expression in the page."""
        answer = self.ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise BrowserFailed(f"{script}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def picture(self, file: Path) -> None:
        """Write what is seen as a PNG."""
        file.write_bytes(base64.b64decode(self.ask("Page.captureScreenshot", format="png")["data"]))

    def paper(self) -> bytes:
        """Give the page as a PDF."""
        return base64.b64decode(self.ask("Page.printToPDF")["data"])

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol, and give its result."""
        self._number += 1
        number = self._number
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + SECONDS
        while True:
            answer = self._take(until)
            if answer.get("id") == number:
                if "error" in answer:
                    raise BrowserFailed(f"{method}: {answer['error']}")
                return dict(answer["result"])

    def _take(self, until: float) -> dict[str, Any]:
        """Give the next message, and note what it tells."""
        while b"\0" not in self._rest:
            if not select.select([self._read], [], [], max(0.0, until - time.monotonic()))[0]:
                raise BrowserFailed(f"it has not answered within {SECONDS} s")
            part = os.read(self._read, 1 << 20)
            if not part:
                raise BrowserFailed("it has ended")
            self._rest += part
        text, _, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        method, told = message.get("method", ""), message.get("params", {})
        self._events.append(method)
        if method == "Network.requestWillBeSent":
            self.requests.append(told["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(told["exceptionDetails"]))
        elif method == "Log.entryAdded" and told["entry"]["level"] in ("warning", "error"):
            self.errors.append(told["entry"]["text"])
        elif method == "Runtime.consoleAPICalled" and told["type"] in ("warning", "error", "assert"):
            self.errors.append(json.dumps(told["args"]))
        return message


@contextmanager
def opened(program: str) -> Iterator[Browser]:
    """Start a browser with a profile of its own, and end it with the context.

    Args:
        program: the browser.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        theirs, write = os.pipe()
        read, back = os.pipe()
        # The shell puts the pipes where the browser looks for them.
        command = f'exec "$0" "$@" {_TO_BROWSER}<&{theirs} {_FROM_BROWSER}>&{back}'
        arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--no-first-run"]
        arguments += ["--disable-background-networking", "--disable-component-update", f"--user-data-dir={profile}"]
        process = subprocess.Popen(
            ["bash", "-c", command, program, *arguments],
            pass_fds=(theirs, back),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs)
        os.close(back)
        try:
            browser = Browser(write, read)
            browser.begin()
            yield browser
        finally:
            os.close(write)  # at which it ends
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            os.close(read)
