"""One engine tried for real, in a process of its own: `python -m segbench.doctor.trial ENGINE FOLDER cpu:f32 …`.

A native library that crashes takes this process down and nothing else. What was tried before is told already.
"""

import json
import sys
from pathlib import Path
from time import perf_counter

import numpy as np

from segbench.engines import start
from segbench.errors import EngineError
from segbench.masks import masks
from segbench.volume import Float32
from segbench.zoo import find

MODEL = "vnet-battery"
MARK = "segbench-trial "
SAMPLES, THREADS, EDGE = 2, 1, 32  # one thread: threads of engines side by side would wait for each other


def image(edge: int = EDGE) -> Float32:
    """A ball in noise, [1, 1, Z, Y, X], about zero mean and unit variance, the same for every engine."""
    axis = np.linspace(-1, 1, edge, dtype=np.float32)
    radius = np.sqrt(sum(part**2 for part in np.meshgrid(axis, axis, axis)))
    noise = np.random.default_rng(0).standard_normal((edge, edge, edge)).astype(np.float32)
    values: Float32 = np.where(radius < 0.75, np.float32(1), np.float32(-1)) + noise * np.float32(0.3)
    return values[None, None]


def attempt(engine: str, device: str, precision: str, file: Path) -> dict[str, object]:
    """Runs the default model with two samples and leaves its logits in `file`."""
    begin = perf_counter()
    try:
        model = find(MODEL)
        started = start(model, engine, precision, THREADS if device == "cpu" else None, device=device)
        logits = started.bind(masks(model.card.dropout, 0, range(SAMPLES)))(image())
    except EngineError as error:
        return {"status": "missing", "said": str(error)}
    except Exception as error:  # a broken installation raises what it likes
        return {"status": "failed", "said": f"{type(error).__name__}: {error}"}
    np.save(file, logits)
    return {"status": "ok", "version": started.version, "device": started.device, "seconds": perf_counter() - begin}


def main(engine: str, folder: str, *wanted: str) -> None:
    """Tries what is wanted in turn, and tells of each as soon as it is done."""
    for number, pair in enumerate(wanted):
        device, precision = pair.split(":")
        told = attempt(engine, device, precision, Path(folder) / f"{engine}-{number}.npy")
        sys.stdout.write(f"\n{MARK}{json.dumps(told)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
