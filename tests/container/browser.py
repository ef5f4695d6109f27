"""A real browser: headless Chromium, controlled over pipes by its DevTools protocol."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

#: Timeout in seconds for the browser to start, or to answer.
_TIMEOUT = 60
#: The events of interest: errors, exceptions and console messages.
_COMPLAINTS = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")


class Browser:
    """A browser with one page.

    Attributes:
        complaints: Console messages, exceptions, and violations of the page's policy.
        requests: The URLs that the page requested.
    """

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self._to, self._from = to_browser, from_browser
        self._rest, self._number, self._session = b"", 0, ""
        self.complaints: list[Any] = []
        self.requests: list[str] = []
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        attached = self._call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")

    def look(self, width: int, height: int = 900, *, dark: bool = False, media: str = "") -> None:
        """Set the window's size and colour scheme; with `media="print"`, render for paper."""
        self._call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._call("Emulation.setEmulatedMedia", media=media, features=[scheme])

    def scripts(self, *, on: bool) -> None:
        """Enable or disable the pages' own scripts."""
        self._call("Emulation.setScriptExecutionDisabled", value=not on)

    def open(self, url: str) -> None:
        """Load a page afresh, and wait until it is loaded."""
        for address in ("about:blank", url):  # a different fragment alone would not reload it
            self._call("Page.navigate", url=address)
            self.wait(
                f"location.href === {json.dumps(address)} && document.readyState === 'complete'"
            )

    def evaluate(self, script: str) -> Any:
        """The value of a JavaScript expression in the page; promises are awaited."""
        answer = self._call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, condition: str) -> None:
        """Wait until a JavaScript expression is true."""
        deadline = time.monotonic() + _TIMEOUT
        while not self.evaluate(condition):
            assert time.monotonic() < deadline, f"it never holds: {condition}"
            time.sleep(0.02)

    def click(self, selector: str) -> None:
        """Click in the middle of an element, as a mouse does."""
        x, y = self.evaluate(
            f"""(() => {{
              const node = document.querySelector({json.dumps(selector)});
              node.scrollIntoView({{ block: "center" }});
              const box = node.getBoundingClientRect();
              return [box.x + box.width / 2, box.y + box.height / 2];
            }})()"""
        )
        for kind in ("mousePressed", "mouseReleased"):
            self._call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def type(self, text: str) -> None:
        """Type into the focused element."""
        self._call("Input.insertText", text=text)

    def press(self, key: str) -> None:
        """Press a named key: `Enter`, `Tab`."""
        code = {"Enter": 13, "Tab": 9}[key]
        text = {"Enter": "\r"}.get(key, "")
        for kind in ("keyDown", "keyUp"):
            self._call(
                "Input.dispatchKeyEvent",
                type=kind, key=key, code=key, windowsVirtualKeyCode=code, text=text,
            )  # fmt: skip

    def screenshot(self, path: Path) -> None:
        """Save a picture of the window."""
        picture = self._call("Page.captureScreenshot", format="png")["data"]
        path.write_bytes(base64.b64decode(picture))

    def pdf(self) -> bytes:
        """The page as a PDF."""
        return base64.b64decode(self._call("Page.printToPDF")["data"])

    def _call(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]
            if answer.get("method") in _COMPLAINTS:
                self.complaints.append(answer["params"])
            if answer.get("method") == "Network.requestWillBeSent":
                self.requests.append(answer["params"]["request"]["url"])

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._from], [], [], _TIMEOUT)
            assert ready, "the browser does not answer"
            part = os.read(self._from, 1 << 20)
            assert part, "the browser is gone"
            self._rest += part
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)


@contextmanager
def browser(profile: Path, log: Path) -> Iterator[Browser]:
    """Start a browser with its own profile, and end it.

    Args:
        profile: A folder for its profile.
        log: A file for its output.
    """
    program = shutil.which("chromium")
    assert program, "there is no chromium: apt-get install chromium"
    its_end, to_browser = _pipe()
    from_browser, its_other_end = _pipe()
    command = [
        "bash", "-c", f'exec "$@" 3<&{its_end} 4>&{its_other_end}', "bash", program, "--headless",
        "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe",
        f"--user-data-dir={profile}", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--hide-scrollbars",
    ]  # fmt: skip
    with log.open("w") as out:
        process = subprocess.Popen(
            command, stdout=out, stderr=out, stdin=subprocess.DEVNULL,
            pass_fds=(its_end, its_other_end),
        )  # fmt: skip
    os.close(its_end)
    os.close(its_other_end)
    try:
        yield Browser(to_browser, from_browser)
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        os.close(to_browser)
        os.close(from_browser)


def _pipe() -> tuple[int, int]:
    """A pipe with descriptors other than those at which the browser expects its own."""
    ends = os.pipe()
    try:
        return tuple(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends)
    finally:
        for end in ends:
            os.close(end)
