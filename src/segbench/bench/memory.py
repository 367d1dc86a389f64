"""Peak memory of one contender, measured in a process of its own.

All contenders are timed in one process, where nobody can say whose memory is whose. So each also runs once alone, in a
fresh interpreter that tells the largest resident memory it ever had.
"""

import json
import subprocess
import sys
from pathlib import Path

from segbench.bench.scene import Key, Request
from segbench.errors import EngineError

STATUS = Path("/proc/self/status")


def peak_mib(request: Request, key: Key) -> float:
    """MiB of a process that starts, loads and runs this contender once.

    Raises:
        EngineError: The process died, perhaps for want of memory.
    """
    asked = json.dumps({"request": alone(request, key).model_dump(mode="json"), "key": key})
    command = [sys.executable, "-m", "segbench.bench.memory"]
    done = subprocess.run(command, input=asked, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["no memory left? try a smaller --size"])[-1]
        raise EngineError(f"{key[0]} {key[1]} alone in a process ended with {done.returncode}: {said}")
    return float(done.stdout.split()[-1])


def alone(request: Request, key: Key) -> Request:
    """The request for one contender, so that its process starts nothing else."""
    kind, precision = key
    engines = {"onnxruntime": "onnxruntime", "monai-torch": "torch"}
    against = tuple(name for name in request.against if kind.startswith(name))
    changes = {"precisions": (precision,), "against": against, "engine": engines.get(kind, request.engine), "out": None}
    return request.model_copy(update=changes)


def own_peak_mib() -> float:
    """The largest resident memory that this process has had so far."""
    if STATUS.exists():
        # not ru_maxrss: Linux carries it over from the process that started this one
        line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # bytes, on macOS


def main() -> None:
    """Reads request and key from standard input, writes MiB to standard output."""
    from segbench.bench.contenders import build
    from segbench.bench.scene import Scene

    asked = json.load(sys.stdin)
    kind, precision = asked["key"]
    build(Scene(Request.model_validate(asked["request"])), (kind, precision)).run()
    sys.stdout.write(f"\n{own_peak_mib()}\n")


if __name__ == "__main__":
    main()
