"""A server in a process of its own: started, waited for, its memory watched, stopped."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from segbench.bench.serving.wire import HOST, OK
from segbench.errors import EngineError

READY, METRICS = "/v2/health/ready", "/metrics"
START_S = 600.0  # that loading, compiling and warming up may take
STOP_S = 120.0


def free_ports(count: int) -> list[int]:
    """Ports of loopback on which nobody listens now, all different."""
    sockets = [socket.create_server((HOST, 0)) for _ in range(count)]
    try:
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def served(zoo: str, root: Path, engine: str, precision: str, threads: int, ports: Sequence[int]) -> list[str]:
    """The command that a user would type.

    Args:
        zoo: A zoo model or a folder.
        root: That it lies in.
        engine: By its name.
        precision: Of the convolutions.
        threads: Of the engine.
        ports: Of HTTP and gRPC.
    """
    return [
        sys.executable, "-m", "segbench", "serve", "--zoo", zoo, "--root", str(root), "--engine", engine,
        "--precision", precision, "--threads", str(threads), "--http-port", str(ports[0]), "--grpc-port", str(ports[1]),
    ]  # fmt: skip


class Server:
    """A process that answers readiness over HTTP.

    Args:
        name: In messages.
        command: That starts it.
        port: Of its HTTP.
        environment: All of it; this process's by default.
        folder: That it runs in.
        ready: Path that answers 200 when it is.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        port: int,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
        ready: str = READY,
    ) -> None:
        self.name, self.port, self._ready = name, port, ready
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  closed with the process
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log, env=environment, cwd=folder,
            process_group=0,  # so that its workers end with it; not a session, which would have other priorities
        )  # fmt: skip

    def __enter__(self) -> Self:
        try:
            self._wait()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def _wait(self) -> None:
        limit = time.monotonic() + START_S
        while self.status(self._ready) != OK:
            if self._process.poll() is not None:
                raise EngineError(f"{self.name} ended with {self._process.returncode} at its start: {self.said()}")
            if time.monotonic() > limit:
                raise EngineError(f"{self.name} was not ready after {START_S:.0f} s: {self.said()}")
            time.sleep(0.1)

    def status(self, path: str) -> int:
        """Of a GET; 0 where nobody answers."""
        try:
            return self._get(path)[0]
        except (OSError, http.client.HTTPException):
            return 0

    def counts(self, metric: str) -> dict[str, float]:
        """Samples of a metric, by what stands in their braces."""
        lines = self._get(METRICS)[1].decode().splitlines()
        found = {}
        for line in lines:
            name, _, value = line.rpartition(" ")
            bare, _, labels = name.partition("{")
            if bare == metric:
                found[labels.rstrip("}")] = float(value)
        return found

    def _get(self, path: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(HOST, self.port, timeout=10)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def said(self) -> str:
        """The last line that it printed."""
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"

    def resident_mib(self) -> float | None:
        """Memory that the process has now; None where the system does not say."""
        return _status(self._process.pid, "VmRSS")

    @contextmanager
    def watched(self, every_s: float) -> Iterator[list[float]]:
        """Resident memory in MiB, looked at every so often while this is open."""
        found: list[float] = []
        end = threading.Event()

        def watch() -> None:
            while not end.is_set():
                now = self.resident_mib()
                if now is not None:
                    found.append(now)
                end.wait(every_s)

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield found
        finally:
            end.set()
            thread.join()

    def stop(self) -> int:
        """Asks it to stop, and makes it where it does not; its exit code."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
        code = self._process.wait()
        self._log.close()
        return code


def _status(pid: int, field: str) -> float | None:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{field}:")), None)
