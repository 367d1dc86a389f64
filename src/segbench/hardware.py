"""The processor and the graphics card that this process may use."""

import contextlib
import ctypes
import os
import platform
import shutil
import subprocess
from pathlib import Path

KEPT = ((-4, 0), (-1, -1), (-2, 2**26))
"""Of glibc's malloc.h: M_MMAP_MAX, no array is mapped by itself; M_TRIM_THRESHOLD, the heap is never cut; M_TOP_PAD, it
grows by 64 MiB at a time."""


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor() -> str:
    """The processor's name, such as "AMD EPYC"."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def machine() -> str:
    """The processor's name, and the graphics card's where there is one."""
    return f"{processor()}, {graphics()}" if shutil.which("nvidia-smi") else processor()


def keep_memory() -> None:
    """Has glibc keep the pages of freed arrays for this process; elsewhere it does nothing.

    By default it gives those of large arrays back at each free, and the kernel clears new ones for the next: a tenth of
    a training's time, half of the time of scoring slice after slice (docs/frontier.md). Memory then stays at its peak
    until the process ends, so this is for those that train.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):  # not glibc
        for option, value in KEPT:
            ctypes.CDLL(None).mallopt(option, value)


def graphics() -> str:
    """The first NVIDIA card's name as its driver says it, or "cuda" where it is silent."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return "cuda"
    command = [tool, "--query-gpu=name", "--format=csv,noheader"]
    said = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False).stdout
    return said.splitlines()[0].strip() if said.strip() else "cuda"
