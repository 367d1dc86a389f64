"""`segbench deploy`: a model, its proof and its settings as one folder to carry to a scanner's workstation."""

import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from segbench import __version__
from segbench.errors import InputError, OutputError
from segbench.export.artifact import make
from segbench.io import file_sha256, telling, write_bytes
from segbench.resources import folder
from segbench.zoo import Model

SITE = "/opt/segbench"  # where the unit looks for the folder
SUMS, SETTINGS, README, WHEELS = "SHA256SUMS", "predict.env", "README.md", "wheels"
TEMPLATES = ("segbench-predict@.service", "Dockerfile")
TARGETS = ("openvino", "onnx")
ENGINES = {"onnx": "onnxruntime"}  # where a target's engine has another name
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Wheels:
    """How the program gets to a machine.

    Attributes:
        file: A wheel of this very segbench, to be copied; None where the machine takes it from an index.
        all: Also everything that it needs, fetched from pip's index now: no network there.
    """

    file: Path | None = None
    all: bool = False


def deploy(
    model: Model,
    out: Path,
    targets: Sequence[str] = TARGETS,
    wheels: Wheels = Wheels(),
    progress: Progress | None = None,
) -> tuple[str, ...]:
    """Makes the folder, whole or not at all; only `wheels.all` asks for the network.

    Args:
        model: Of the zoo, or of a folder.
        out: Must not be there yet.
        targets: Of `segbench export`; the first one is what predict runs by default.
        wheels: What of the program goes along.
        progress: Told what is being made.

    Returns:
        Its files, as paths below it.

    Raises:
        InputError: The wheel is none of this version, or targets are missing or doubled.
        UnknownNameError: There is no such target.
        EngineError: What makes a target is not installed.
        OutputError: `out` is there already or cannot be written, or the wheels cannot be fetched.
    """
    names = [Path(target).stem for target in targets]
    if not names or len(set(names)) < len(names):
        raise InputError(f"--to: name each target once, at least one (asked for: {', '.join(names) or 'none'})")
    check_wheel(wheels.file)
    if out.exists():
        raise OutputError(f"{out}: is there already: choose another name, or remove it")
    tell = progress or (lambda what: None)
    with telling(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        part = out.with_name(f".{out.name}.{secrets.token_hex(4)}.part")
        try:
            part.mkdir()
            for name, target in zip(names, targets, strict=True):
                tell(f"exporting to {name}")
                make(model, target, part / name)
            tell("collecting wheels")
            collect(wheels, part / WHEELS)
            for template in TEMPLATES:
                shutil.copyfile(folder("serve") / "workstation" / template, part / template)
            write_bytes(part / SETTINGS, settings(names[0]))
            write_bytes(part / README, readme(model, names, wheels))
            files = sorted(path for path in part.rglob("*") if path.is_file())
            sums = {path.relative_to(part).as_posix(): file_sha256(path) for path in files}
            write_bytes(part / SUMS, "".join(f"{digest}  {path}\n" for path, digest in sums.items()))
            part.rename(out)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return (*sums, SUMS)


def check_wheel(wheel: Path | None) -> None:
    """Refuses what is no wheel of this version: another one may prove another thing.

    Raises:
        InputError: Says which one is wanted.
    """
    if wheel is None:
        return
    if not wheel.is_file():
        raise InputError(f"{wheel}: no such file: build it with: pip wheel --no-deps PATH-OF-SEGBENCH")
    if not (wheel.name.startswith(f"segbench-{__version__}-") and wheel.suffix == ".whl"):
        raise InputError(f"{wheel}: not a wheel of segbench {__version__}, which makes this folder")


def collect(wheels: Wheels, to: Path) -> None:
    """Copies the wheel and fetches what it needs, for machines like this one.

    Raises:
        OutputError: pip could not fetch it; says what pip says last.
    """
    if wheels.file is None and not wheels.all:
        return
    to.mkdir()
    if wheels.file is not None:
        shutil.copyfile(wheels.file, to / wheels.file.name)
    if not wheels.all:
        return
    wanted = f"{(to / wheels.file.name).resolve()}[cpu]" if wheels.file else f"segbench[cpu]=={__version__}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--only-binary", ":all:", "--dest", str(to), wanted]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = [text for text in done.stderr.splitlines() if text.startswith("ERROR")] or ["it said nothing"]
        raise OutputError(f"--wheelhouse: pip could not fetch {wanted}: {said[-1].removeprefix('ERROR: ')}")


def settings(first: str) -> str:
    """What the unit reads; a user changes it."""
    return f"""# Read by segbench-predict@.service
ZOO={SITE}/{first}
ENGINE={ENGINES.get(first, first)}
SCANS=/data/scans
RESULTS=/data/results
SAMPLES=16
SEED=0
"""


def readme(model: Model, names: Sequence[str], wheels: Wheels) -> str:
    """Ten lines for whoever stands before the workstation."""
    first = names[0]
    source = "--no-index --find-links wheels" if wheels.all else "--find-links wheels" if wheels.file else ""
    install = f"venv/bin/pip install {source} 'segbench[cpu]=={__version__}'".replace("  ", " ")
    network = "" if wheels.all else " (this line alone needs a network)"
    others = "".join(f", `{name}`" for name in names[1:])
    return f"""# {model.card.name} {model.card.version}, made by segbench {__version__}

Models: `{first}`{others}. Type this here, in this folder; the unit wants it to be `{SITE}`.

1. Is the copy whole? `sha256sum --check --quiet {SUMS}`
2. Install{network}: `python3 -m venv venv && {install}`
3. What can this machine run? `venv/bin/segbench doctor`
4. Prove the model here, once, some minutes: `venv/bin/segbench verify {first}`
5. Segment: `venv/bin/segbench predict SCAN.tif --zoo {first} --out RESULT.zarr`
6. As a service: set folders in `{SETTINGS}`, copy `{TEMPLATES[0]}` to `/etc/systemd/system`; its head says more.
7. In a container: the head of `Dockerfile` says how.
"""
