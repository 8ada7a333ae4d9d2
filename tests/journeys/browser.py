"""A headless Chromium that a test drives: the DevTools protocol over two pipes, so that no port is opened and no package is needed."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROGRAM = next((found for name in ("chromium", "google-chrome", "chromium-browser") if (found := shutil.which(name))), None)
QUIET = ("--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync")
WAIT_S = 60.0


class Browser:
    """One page of one browser. `heard` are the events that the protocol told of, in order."""

    def __init__(self, process: subprocess.Popen[bytes], reading: int, writing: int) -> None:
        self._process, self._reading, self._writing = process, reading, writing
        self._held, self._number, self._session = b"", 0, ""
        self.heard: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "DOM"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Return what the browser answers to a command of the protocol."""
        self._number += 1
        session = {"sessionId": self._session} if self._session else {}
        self._write({"id": self._number, "method": method, "params": parameters, **session})
        until_s = time.monotonic() + WAIT_S
        while time.monotonic() < until_s:
            for message in self._read(until_s):
                if message.get("id") == self._number:
                    assert "error" not in message, f"{method}: {message.get('error')}"
                    return dict(message["result"])
                self.heard.append(message)
        raise TimeoutError(method)

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression, awaited."""
        found = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True, userGesture=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait(self, expression: str) -> Any:
        """Return the first true value of an expression."""
        until_s = time.monotonic() + WAIT_S
        while time.monotonic() < until_s:
            said = "found instanceof Node ? true : found"
            if found := self.evaluate(f"(() => {{ try {{ const found = {expression}; return {said}; }} catch {{ return null; }} }})()"):
                return found
            time.sleep(0.02)
        raise TimeoutError(f"{expression}; the page says: {self.evaluate('document.body.innerText')[:600]}")

    def open(self, url: str, *, language: str = "en-US") -> None:
        self.call("Emulation.setLocaleOverride", locale=language.replace("-", "_"))
        agent = self.call("Runtime.evaluate", expression="navigator.userAgent", returnByValue=True)["result"]["value"]
        self.call("Network.setUserAgentOverride", userAgent=agent, acceptLanguage=language)
        self.call("Page.navigate", url=url)
        self.wait("document.documentElement.dataset.ready === 'yes'")

    def look(self, width: int, height: int = 900, *, dark: bool = False) -> None:
        """The page is so wide, light or dark."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme, {"name": "prefers-reduced-motion", "value": "reduce"}])

    def screenshot(self, path: Path) -> Path:
        """`path` is a PNG of the whole page."""
        found = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(found["data"]))
        return path

    def click(self, selector: str) -> None:
        self.evaluate(f"document.querySelector({json.dumps(selector)}).click()")

    def type(self, selector: str, text: str) -> None:
        """The element has the focus and the text is typed into it; what it held is replaced."""
        chosen = json.dumps(selector)
        self.evaluate(f"(() => {{ const at = document.querySelector({chosen}); at.focus(); if (at.select) at.select(); }})()")
        self.call("Input.insertText", text=text)

    def choose(self, selector: str, value: str) -> None:
        chosen = json.dumps(selector)
        change = "at.dispatchEvent(new Event('change', {bubbles: true}))"
        self.evaluate(f"(() => {{ const at = document.querySelector({chosen}); at.value = {json.dumps(value)}; {change}; }})()")

    def give_file(self, selector: str, path: Path) -> None:
        """The file is chosen in a file input."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    def text(self, selector: str) -> str:
        return str(self.evaluate(f"document.querySelector({json.dumps(selector)}).innerText"))

    def complaints(self) -> list[str]:
        """Return what the console, the page's errors and its policy complained of."""
        self.evaluate("1")
        found = []
        for one in self.heard:
            if one.get("method") == "Runtime.exceptionThrown":
                found.append(str(one["params"]["exceptionDetails"].get("exception", {}).get("description", "exception")))
            if one.get("method") == "Log.entryAdded" and one["params"]["entry"]["level"] == "error":
                found.append(f"{one['params']['entry']['text']} {one['params']['entry'].get('url', '')}")
        return found

    def asked(self) -> list[str]:
        """Return the addresses that the page asked for."""
        return [one["params"]["request"]["url"] for one in self.heard if one.get("method") == "Network.requestWillBeSent"]

    def _write(self, message: dict[str, Any]) -> None:
        left = json.dumps(message).encode() + b"\0"
        while left:
            left = left[os.write(self._writing, left) :]

    def _read(self, until_s: float) -> Iterator[dict[str, Any]]:
        if b"\0" not in self._held:
            ready, _, _ = select.select([self._reading], [], [], max(0.0, until_s - time.monotonic()))
            if not ready:
                return
            piece = os.read(self._reading, 1 << 20)
            assert piece, "the browser ended"
            self._held += piece
        while b"\0" in self._held:
            message, _, self._held = self._held.partition(b"\0")
            yield json.loads(message)


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """Give a browser with an empty profile; it and its children end with the block."""
    assert PROGRAM is not None
    theirs_in, ours_out = os.pipe()
    ours_in, theirs_out = os.pipe()

    def ends() -> None:
        for end in (theirs_in, theirs_out):  # not onto each other: first away from 3 and 4
            os.set_inheritable(end, True)
        one, other = os.dup(theirs_in), os.dup(theirs_out)
        os.dup2(one, 3)
        os.dup2(other, 4)

    flags = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--remote-debugging-pipe", *QUIET)
    process = subprocess.Popen(
        [PROGRAM, *flags, f"--user-data-dir={profile}"], preexec_fn=ends, pass_fds=(3, 4), start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(theirs_in)
    os.close(theirs_out)
    try:
        yield Browser(process, ours_in, ours_out)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        os.close(ours_in)
        os.close(ours_out)
