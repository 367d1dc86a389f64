"""Whether the dropout of any ONNX model is alive under ONNX Runtime's default settings.

A model is run, not believed: a graph with Dropout in training mode is as dead as one without, once the runtime has
deleted it; a graph without any random node is alive, if it takes its masks as an input.
"""

import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx

from segbench.export.stochastic import draws, frozen, mask_inputs
from segbench.export.stranger import Port, made_up, outputs, ports, read, session
from segbench.recipe import Strict
from segbench.zoo.reference import Array

RUNS = 4
LEAST = 1e-5  # of an output's spread: less is rounding
Role = Literal["image", "mask", "seed", "switch", "other"]


class Feed(Strict):
    """An input, and what it does.

    Attributes:
        name: Its name.
        shape: As it was fed.
        role: "image"; "mask" is multiplied in; "seed" is of whole numbers; "switch" was on; "other" is none of them.
        changes: Whether other numbers give another output; None for image and switch, which were not varied.
    """

    name: str
    shape: tuple[int, ...]
    role: Role
    changes: bool | None = None


class Liveness(Strict):
    """What was found of a model.

    Attributes:
        model: Its path.
        runtime: What ran it.
        verdict: "alive", "deleted" by the runtime, "frozen" at export, or "none".
        said: The verdict in a line.
        nodes: Random nodes of the file, in words.
        left: Those among the nodes that the runtime really runs.
        differ: Whether equal inputs give other outputs from run to run, by default.
        differ_unoptimised: The same with all optimisation off.
        restarts: Whether a second session of the same process begins with the same draws; None where nothing differs.
        frozen: Constants that look like a mask.
        inputs: What was fed.
    """

    model: str
    runtime: str
    verdict: Literal["alive", "deleted", "frozen", "none"]
    said: str
    nodes: tuple[str, ...]
    left: tuple[str, ...]
    differ: bool
    differ_unoptimised: bool
    restarts: bool | None
    frozen: tuple[str, ...]
    inputs: tuple[Feed, ...]


def liveness(path: Path, shapes: Mapping[str, tuple[int, ...]] | None = None) -> Liveness:
    """Runs a model several times on equal inputs, with and without optimisation, and varies its other inputs.

    Args:
        path: An ONNX file.
        shapes: Of inputs whose open axes do not like the usual sizes.

    Raises:
        InputError: No ONNX model, or it cannot be run on what was made up; the message says how to give shapes.
        EngineError: ONNX Runtime is not installed.
    """
    model = read(path)
    with tempfile.TemporaryDirectory() as folder:
        run_graph = Path(folder) / "run.onnx"
        default = session(path, save=run_graph)
        left = draws(onnx.load(run_graph, load_external_data=False)) if run_graph.is_file() else draws(model)
    wanted = ports(default, shapes or {})
    roles = _roles(model, wanted)
    generator = np.random.default_rng(0)
    inputs = {port.name: made_up(port, generator, mask=roles[port.name] == "mask") for port in wanted}
    first = outputs(default, inputs, path)
    differ = any(_apart(first, outputs(default, inputs, path)) for _ in range(RUNS - 1))
    feeds = tuple(
        Feed(name=p.name, shape=p.shape, role=roles[p.name], changes=_changes(default, p, roles, inputs, first, path))
        for p in wanted
    )
    restarts = not _apart(first, outputs(session(path), inputs, path)) if differ else None
    plain = session(path, optimised=False)
    raw = [outputs(plain, inputs, path) for _ in range(RUNS)]
    found = draws(model)
    partial = Liveness(
        model=str(path),
        runtime=f"ONNX Runtime {version(_package())}, default settings, processor",
        verdict="none",
        said="",
        nodes=_counted([draw.said for draw in found]),
        left=_counted([draw.said for draw in left]),
        differ=differ,
        differ_unoptimised=any(_apart(raw[0], other) for other in raw[1:]),
        restarts=restarts,
        frozen=tuple(frozen(model)),
        inputs=feeds,
    )
    verdict, said = next(_verdicts(partial, any(draw.live for draw in found)))
    return partial.model_copy(update={"verdict": verdict, "said": said})


def _package() -> str:
    from importlib.metadata import packages_distributions

    return packages_distributions()["onnxruntime"][0]


def _verdicts(found: Liveness, live: bool) -> Iterator[tuple[str, str]]:
    """What holds of a model, the strongest first: (verdict, line)."""
    nodes = ", ".join(found.nodes)
    fed = [feed.name for feed in found.inputs if feed.role in ("mask", "seed") and feed.changes]
    if found.differ:
        drawn = f"{', '.join(found.left)}{f' of {nodes}' if found.left != found.nodes else ''}"
        yield "alive", f"alive, but the runtime draws ({drawn}): no other process or machine repeats it"
    if fed:
        yield "alive", f"alive: what its input {' or '.join(map(repr, fed))} holds decides, run after run"
    if found.differ_unoptimised:
        yield "deleted", f"dead: the file draws ({nodes}), and ONNX Runtime deletes it; every run gives the same"
    if found.frozen:
        yield "frozen", f"frozen: a mask was drawn at export and is a constant now ({'; '.join(found.frozen)})"
    if live:
        yield "deleted", f"dead: the file draws ({nodes}), and every run gives the same even without optimisation"
    if nodes:
        yield "none", f"dead: {nodes} does nothing; the model is deterministic"
    yield "none", "none: nothing is drawn, fed or frozen; the model is deterministic"


def _counted(said: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"{count} x {what}" if count > 1 else what for what, count in Counter(said).items())


def _roles(model: onnx.ModelProto, wanted: Sequence[Port]) -> dict[str, Role]:
    masks = mask_inputs(model)
    roles: dict[str, Role] = {}
    for port in wanted:
        if port is wanted[0]:
            roles[port.name] = "image"
        elif port.kind == "b":
            roles[port.name] = "switch"
        elif port.kind in "iu":
            roles[port.name] = "seed"
        else:
            roles[port.name] = "mask" if port.name in masks else "other"
    return roles


def _changes(
    loaded: Any,  # noqa: ANN401
    port: Port,
    roles: Mapping[str, Role],
    inputs: Mapping[str, Array],
    first: Sequence[Array],
    path: Path,
) -> bool | None:
    """Whether other numbers for this input alone give another output."""
    if roles[port.name] in ("image", "switch"):
        return None
    for seed in range(1, RUNS):
        value = made_up(port, np.random.default_rng(seed), mask=roles[port.name] == "mask")
        if _apart(first, outputs(loaded, {**inputs, port.name: value}, path)):
            return True
    return False


def _apart(first: Sequence[Array], second: Sequence[Array]) -> bool:
    """Whether any output differs by more than rounding."""
    for a, b in zip(first, second, strict=True):
        if a.shape != b.shape:
            return True
        if a.dtype.kind != "f":
            if not np.array_equal(a, b):
                return True
            continue
        x, y = a.astype(np.float64), b.astype(np.float64)
        if not np.array_equal(np.isnan(x), np.isnan(y)) or np.nanmax(np.abs(x - y), initial=0) > LEAST * np.nanstd(x):
            return True
    return False
