"""Worker processes, one thread each, that end with the process that started them."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from segbench.errors import EngineError
from segbench.io import check_output_folder, write_bytes
from segbench.study.task import LOG, TASK, Task

MARK = "segbench-share "
"""Begins the lines in which a worker says what share of its work is done."""

THREADS = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
KEPT = 200
"""Letters of a worker's last words that a table can show."""


class Workers:
    """Starts worker processes and can end all of them; used from several threads."""

    def __init__(self, command: tuple[str, ...] = (sys.executable, "-m", "segbench.study.work")) -> None:
        self._command = command
        self._alive: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()
        self._stopped = False

    def run(self, task: Task, share: Callable[[float], None]) -> None:
        """Runs one task to its end.

        Args:
            task: What to do.
            share: Called with the share of it that is done.

        Raises:
            EngineError: The worker failed; its last words, and where all of them are.
        """
        check_output_folder(task.place)
        asked, log = task.place / TASK, task.place / LOG
        write_bytes(asked, json.dumps(task.model_dump(mode="json"), indent=1) + "\n")
        with log.open("a", encoding="utf-8") as words:
            worker = self._started(asked, words.fileno())
            try:
                assert worker.stdout is not None
                for line in worker.stdout:
                    if line.startswith(MARK):
                        share(float(line.removeprefix(MARK)))
                code = worker.wait()
            finally:
                with self._lock:
                    self._alive.discard(worker)
                worker.kill()
                worker.communicate()
        if code:
            raise EngineError(f"{_last(log, code)} ({log})")

    def stop(self) -> None:
        """Ends all workers; no further one is started."""
        with self._lock:
            self._stopped = True
            for worker in self._alive:
                worker.kill()

    def _started(self, asked: Path, words: int) -> subprocess.Popen[str]:
        with self._lock:
            if self._stopped:
                raise EngineError("interrupted")
            # its standard input is never written: it ends when this process does, and the worker with it
            worker = subprocess.Popen(
                [*self._command, str(asked)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=words, text=True,
                env=os.environ | THREADS,
            )  # fmt: skip
            self._alive.add(worker)
            return worker


def _last(log: Path, code: int) -> str:
    """A worker's last words."""
    said = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    if code < 0 or not said:
        return f"its process ended with {code}; no memory left?" if code == -9 else f"its process ended with {code}"
    # pydantic ends with where to read on, which says nothing of what was wrong
    told = [line for line in said if not line.strip().startswith("For further information")]
    return (told or said)[-1].strip()[:KEPT]
