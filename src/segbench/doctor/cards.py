"""NVIDIA cards and libraries, as `python -m segbench.doctor.cards` finds them: a driver that crashes ends no more."""

import ctypes
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from ctypes.util import find_library
from importlib import metadata

from segbench.doctor.finding import Finding, line

TIMEOUT_S = 20.0
# library -> the packages that carry it, the first match counts
PACKAGES = {
    "CUDA runtime": r"nvidia-cuda-runtime(-cu\d+)?",
    "cuDNN": r"nvidia-cudnn(-cu\d+)?",
    "TensorRT": r"tensorrt(-cu\d+)?",
    "TensorRT-RTX": r"tensorrt-rtx(-cu\d+)?|onnxruntime-ep-nv-tensorrt-rtx(-cu\d+)?",
}


def driver() -> bool:
    """Whether there is a driver of an NVIDIA card at all; nothing is loaded to find out."""
    return shutil.which("nvidia-smi") is not None or find_library("cuda") is not None


def cards(python: str = sys.executable) -> Iterator[Finding]:
    """Cards, driver and libraries; one line where there is no driver."""
    if not driver():
        yield Finding(topic="NVIDIA", name="driver", status="missing", said="no NVIDIA card, or no driver for it")
        return
    ran = subprocess.run(
        [python, "-m", "segbench.doctor.cards"], capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    try:
        told = json.loads(ran.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        said = f"looking at it ended with code {ran.returncode}: {line(ran.stderr)}"
        fix = "install the driver again; then see whether nvidia-smi works"
        yield Finding(topic="NVIDIA", name="driver", status="failed", said=said, fix=fix)
        return
    for name, said in told.items():
        yield Finding(topic="NVIDIA", name=name, status="ok" if said else "missing", said=said or "not installed")


def look() -> dict[str, str]:
    """What there is by name; empty text for what is not."""
    found = _smi() or _cuda()
    packages = {dist.metadata["Name"].lower().replace("_", "-"): dist.version for dist in metadata.distributions()}
    for name, pattern in PACKAGES.items():
        versions = [f"{version} ({package})" for package, version in sorted(packages.items())
                    if re.fullmatch(pattern, package)]  # fmt: skip
        found[name] = ", ".join(versions) or _library(name)
    return found


def _smi() -> dict[str, str]:
    """Cards and driver as nvidia-smi says them."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return {}
    query = "--query-gpu=name,memory.total,compute_cap,driver_version"
    ran = subprocess.run(
        [tool, query, "--format=csv,noheader"], capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    rows = [[part.strip() for part in text.split(",")] for text in ran.stdout.splitlines() if text.count(",") == 3]
    if ran.returncode or not rows:
        return {"driver": f"nvidia-smi says: {line(ran.stdout or ran.stderr)}"}
    named = {f"card {number}": f"{row[0]}, {row[1]}, compute capability {row[2]}" for number, row in enumerate(rows)}
    return {**named, "driver": f"{rows[0][3]}, for CUDA {_driver_cuda() or 'unknown'}"}


def _cuda() -> dict[str, str]:
    """The same from the driver itself, where nvidia-smi is not there, as in many containers."""
    library = ctypes.CDLL(find_library("cuda") or "libcuda.so.1")
    if code := library.cuInit(0):
        return {"driver": f"libcuda does not start (error {code})"}
    count, name = ctypes.c_int(), ctypes.create_string_buffer(100)
    library.cuDeviceGetCount(ctypes.byref(count))
    found = {}
    for number in range(count.value):
        library.cuDeviceGetName(name, len(name), number)
        found[f"card {number}"] = name.value.decode(errors="replace")
    return {**found, "driver": f"libcuda, for CUDA {_driver_cuda() or 'unknown'}"}


def _driver_cuda() -> str:
    """The newest CUDA that the driver runs."""
    try:
        version = ctypes.c_int()
        ctypes.CDLL(find_library("cuda") or "libcuda.so.1").cuDriverGetVersion(ctypes.byref(version))
    except (OSError, AttributeError):
        return ""
    return f"{version.value // 1000}.{version.value % 1000 // 10}"


def _library(name: str) -> str:
    """The version of a library of the system that is in no Python package."""
    asks = {
        "cuDNN": ("cudnn", "cudnnGetVersion"),
        "TensorRT": ("nvinfer", "getInferLibVersion"),
    }
    if name not in asks or (path := find_library(asks[name][0])) is None:
        return ""
    try:
        return f"{int(getattr(ctypes.CDLL(path), asks[name][1])())} ({path})"
    except (OSError, AttributeError):
        return f"{path}, which does not load"


if __name__ == "__main__":
    sys.stdout.write(json.dumps(look()) + "\n")
