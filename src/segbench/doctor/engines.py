"""Engines, each proved by a tiny inference in a process of its own, and held against the first that ran."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from segbench.doctor.cards import driver
from segbench.doctor.finding import Finding, Status, line
from segbench.doctor.trial import MARK
from segbench.engines import ENGINES

# what is tried of each engine, as device and precision; the first of all is what the others are held against
TRIALS = {
    "onnxruntime": ("cpu:f32", "cuda:f32"),
    "openvino": ("cpu:f32", "cpu:bf16", "cpu:int8"),
    "torch": ("cpu:f32", "cpu:bf16", "cuda:f32", "cuda:bf16", "cuda:f16"),
}
UNTRIED = {
    "torch-compiled": "compiles for a minute first",
    "tensorrt": "runs engines of its own: segbench export MODEL --to tensorrt, then segbench verify",
    "tensorrt-rtx": "runs engines of its own: segbench export MODEL --to tensorrt-rtx, then segbench verify",
}
TIMEOUT_S = 60.0
# what an engine's logits may differ by in f32, and the share of voxels whose label may change elsewhere; far above
# what sound ones differ by, far below what a broken one does. segbench verify has the real gate.
LARGEST, LABELS = 1e-3, 0.05


@dataclass(frozen=True)
class Tried:
    """One attempt: what the child told, and where its logits are."""

    engine: str
    pair: str
    told: dict[str, Any]
    file: Path


def engines(python: str = sys.executable, timeout_s: float = TIMEOUT_S, card: bool | None = None) -> Iterator[Finding]:
    """A line for each engine, device and precision.

    Args:
        python: What runs the children.
        timeout_s: For all attempts of one engine.
        card: Whether there is an NVIDIA card to try; looked up by default.
    """
    card = driver() if card is None else card
    wanted = {name: [pair for pair in pairs if card or pair.startswith("cpu")] for name, pairs in TRIALS.items()}
    there = {name: _lacking(name) is None for name in TRIALS}
    with TemporaryDirectory(prefix="segbench-doctor-") as folder, ThreadPoolExecutor(len(TRIALS)) as pool:
        running = {
            name: pool.submit(_children, name, wanted[name], Path(folder), python, timeout_s)
            for name in TRIALS
            if there[name]
        }
        tried = [attempt for name in running for attempt in running[name].result()]
        first = next((t for t in tried if t.told["status"] == "ok" and t.pair.endswith(":f32")), None)
        for name in TRIALS:
            if not there[name]:
                yield missing(name)
            yield from (_judged(attempt, first) for attempt in tried if attempt.engine == name)
    for name in (name for name in ENGINES if name in UNTRIED):
        if _lacking(name) is None:
            yield Finding(topic="engines", name=name, status="not tried", said=UNTRIED[name])


def missing(name: str) -> Finding:
    """The line of an engine whose package is not installed."""
    said = f"the package {_lacking(name)} is not installed"
    return Finding(topic="engines", name=name, status="missing", said=said, fix=ENGINES[name][2])


def _lacking(name: str) -> str | None:
    return next((package for package in ENGINES[name][1] if find_spec(package) is None), None)


def _children(name: str, pairs: list[str], folder: Path, python: str, timeout_s: float) -> list[Tried]:
    """Tries an engine in one child; where that crashes, what it had not told of is tried in another."""
    done: list[Tried] = []
    while len(done) < len(pairs):
        part = folder / f"{name}-{len(done)}"
        part.mkdir()
        told, end = _child([python, "-m", "segbench.doctor.trial", name, str(part), *pairs[len(done) :]], timeout_s)
        if len(told) < len(pairs) - len(done):
            told.append({"status": "failed", "said": end})
        done += [
            Tried(name, pairs[len(done) + number], each, part / f"{name}-{number}.npy")
            for number, each in enumerate(told)
        ]
    return done


def _child(command: list[str], timeout_s: float) -> tuple[list[dict[str, Any]], str]:
    """What a child told, and how it ended."""
    # a child that imports what lies in the working folder would be another program
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    try:
        ran = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=timeout_s, check=False, env=environment
        )
        out, end = ran.stdout, _ended(ran.returncode, ran.stderr)
    except subprocess.TimeoutExpired as error:
        said: object = error.stdout  # bytes or text, by the version of Python
        out = said.decode(errors="replace") if isinstance(said, bytes) else str(said or "")
        end = f"gave no answer within {timeout_s:g} s"
    return [json.loads(text.removeprefix(MARK)) for text in out.splitlines() if text.startswith(MARK)], end


def _ended(code: int, stderr: str) -> str:
    if code < 0:
        return f"crashed ({signal.Signals(-code).name})"
    return f"ended with code {code}: {line((stderr.strip().splitlines() or [''])[-1])}"


def _judged(tried: Tried, first: Tried | None) -> Finding:
    device, precision = tried.pair.split(":")
    name, told = f"{tried.engine} {device} {precision}", tried.told
    if told["status"] != "ok":
        status: Status = "missing" if told["status"] == "missing" else "failed"
        return Finding(topic="engines", name=name, status=status, said=line(told["said"]))
    said, numbers = f"{told['version']}, {told['seconds']:.1f} s", {"seconds": float(told["seconds"])}
    if first is None or tried is first:
        return Finding(topic="engines", name=name, said=f"{said}, on {told['device']}", numbers=numbers)
    logits, reference = np.load(tried.file), np.load(first.file)
    largest = float(np.abs(logits - reference).max())
    labels = float(((logits > 0) != (reference > 0)).mean())
    numbers |= {"largest_difference": largest, "labels_changed": labels}
    said += f"; differs by {largest:.0e}, {labels:.2%} labels"
    sound = largest <= LARGEST if precision == "f32" else labels <= LABELS
    if not (sound and np.isfinite(logits).all()):
        fix = f"do not use it: segbench predict --engine {first.engine}"
        return Finding(topic="engines", name=name, status="failed", said=f"{said}: wrong", fix=fix, numbers=numbers)
    return Finding(topic="engines", name=name, said=said, numbers=numbers)
