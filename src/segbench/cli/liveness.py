"""`segbench verify --liveness`: any ONNX model."""

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from segbench.cli.screen import print_json, results
from segbench.errors import InputError


def run_liveness(path: Path, shapes: Sequence[str], json: bool) -> bool:
    """Says what was found of a model's dropout; whether it is alive."""
    from segbench.export.liveness import liveness

    found = liveness(path, dict(_shape(text) for text in shapes))
    if json:
        print_json(found.model_dump(mode="json"))
        return found.verdict == "alive"
    differ = {True: "differ", False: "are the same"}
    rich = Table("looked at", "found", pad_edge=False)
    rich.add_row("random nodes in the file", ", ".join(found.nodes) or "none")
    rich.add_row("of them left to run", ", ".join(found.left) or "none")
    rich.add_row("equal inputs, default settings", f"runs {differ[found.differ]}")
    if found.restarts is not None:
        begins = "begins with the same draws" if found.restarts else "draws on its own"
        rich.add_row("a second session of this process", begins)
    rich.add_row("equal inputs, nothing optimised", f"runs {differ[found.differ_unoptimised]}")
    rich.add_row("constants that look like masks", "; ".join(found.frozen) or "none")
    for feed in found.inputs:
        what = {None: "", True: ": other numbers give another output", False: ": changes nothing"}[feed.changes]
        rich.add_row(f"input {feed.name}", f"{list(feed.shape)}, {feed.role}{what}".replace("[", "\\["))
    console = results()
    console.print(f"{path.name} under {found.runtime}", soft_wrap=True, markup=False)
    console.print(rich)
    console.print(found.said, soft_wrap=True, markup=False)
    return found.verdict == "alive"


def _shape(text: str) -> tuple[str, tuple[int, ...]]:
    name, _, sizes = text.rpartition("=")
    if not name or not all(size.strip().isdecimal() and int(size) for size in sizes.split(",")):
        raise InputError(f"--shape {text}: give NAME=sizes with commas, as in image=1,1,64,64,64")
    return name, tuple(int(size) for size in sizes.split(","))
