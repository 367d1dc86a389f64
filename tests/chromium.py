"""A headless Chromium that says what a page does: the DevTools protocol through two pipes, with the standard library.

No port is opened. Every console message, exception, refused policy and request of the page is kept.
"""

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PATIENCE = 60.0  # seconds for one answer: the machine may be busy


def chromium() -> str | None:
    """Path of the browser; SEGBENCH_CHROMIUM names another one. None where there is none."""
    named = os.environ.get("SEGBENCH_CHROMIUM")
    return named or next((found for name in NAMES if (found := shutil.which(name))), None)


class Browser:
    """One browser with one page, in a profile of its own."""

    def __init__(self, program: str) -> None:
        self.profile = tempfile.mkdtemp(prefix="segbench-chromium-")
        to_it, self.out = os.pipe()
        self.back, from_it = os.pipe()
        options = [
            "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-extensions", "--mute-audio",
            "--hide-scrollbars", f"--user-data-dir={self.profile}", "--remote-debugging-pipe", "about:blank",
        ]  # fmt: skip

        def pipes() -> None:  # the browser reads file 3 and writes file 4
            os.dup2(to_it, 103)
            os.dup2(from_it, 104)
            os.dup2(103, 3)
            os.dup2(104, 4)

        self.process = subprocess.Popen(
            [program, *options],
            close_fds=False,
            preexec_fn=pipes,  # noqa: PLW1509
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_it)
        os.close(from_it)
        self.number, self.session, self.buffer = 0, None, b""
        self.events: list[dict] = []
        pages = self.call("Target.getTargets")["targetInfos"]
        target = next(page["targetId"] for page in pages if page["type"] == "page")
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "Audits"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: object) -> dict:
        """Answer to one command of the protocol."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self.number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]
            self.events.append(answer)

    def _next(self) -> dict:
        end = time.monotonic() + PATIENCE
        while b"\0" not in self.buffer:
            if not select.select([self.back], [], [], max(0, end - time.monotonic()))[0]:
                raise TimeoutError("Chromium does not answer")
            read = os.read(self.back, 1 << 20)
            if not read:
                raise EOFError("Chromium ended")
            self.buffer += read
        text, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(text)

    def size(self, width: int, height: int, scale: float = 1, *, dark: bool = False, touch: bool = False) -> None:
        """Of the window in CSS pixels, and the colours that its user prefers."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=touch
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media="", features=[scheme])

    def open(self, path: Path) -> None:
        """A file, until it has loaded."""
        self.events.clear()
        self.call("Page.navigate", url=path.resolve().as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._next())

    def run(self, expression: str) -> object:
        """Value of a JavaScript expression on the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def press(self, key: str, shift: bool = False) -> None:
        """A key, down and up."""
        codes = {
            "Tab": 9,
            "Enter": 13,
            " ": 32,
            "ArrowLeft": 37,
            "ArrowUp": 38,
            "ArrowRight": 39,
            "End": 35,
            "Home": 36,
        }
        text = {"text": "\r"} if key == "Enter" else {"text": key} if len(key) == 1 else {}
        told = {"key": key, "code": "Space" if key == " " else key, "windowsVirtualKeyCode": codes[key]}
        for kind in ("keyDown", "keyUp"):
            down = text if kind == "keyDown" else {}
            self.call("Input.dispatchKeyEvent", type=kind, modifiers=8 * shift, **told, **down)

    def picture(self, path: Path, *, whole: bool = False) -> None:
        """A screenshot of the window, or of the whole page."""
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
        path.write_bytes(base64.b64decode(data))

    def pdf(self) -> bytes:
        """The page as it prints."""
        return base64.b64decode(self.call("Page.printToPDF", printBackground=True, preferCSSPageSize=True)["data"])

    def complaints(self) -> list[str]:
        """Console messages, exceptions, refused policies and whatever else the browser finds wrong."""
        self.run("new Promise((done) => setTimeout(done, 50))")
        wanted = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded", "Audits.issueAdded")
        return [json.dumps(event)[:600] for event in self.events if event.get("method") in wanted]

    def requests(self) -> list[str]:
        """Addresses that the page asked for, data: addresses aside, which are inside it."""
        asked = [event for event in self.events if event.get("method") == "Network.requestWillBeSent"]
        return [url for event in asked if not (url := event["params"]["request"]["url"]).startswith("data:")]

    def close(self) -> None:
        """Ends the browser, and removes its profile."""
        with contextlib.suppress(OSError, TimeoutError, EOFError, AssertionError):
            self.session = None
            self.call("Browser.close")
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self.out)
        os.close(self.back)
        shutil.rmtree(self.profile, ignore_errors=True)
