"""`segbench data` on fibre-composite."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
from rich.table import Table

from segbench.cli import volumes
from segbench.cli.screen import NOTES, print_json, progress_bar, results
from segbench.data import fibre
from segbench.data.fibre.split import GAP, TESTED, TRAINED, VALIDATED, again
from segbench.data.fibre.volume import KNOWN
from segbench.errors import InputError
from segbench.io import check_output_folder

NAME = "fibre-composite"
DISTANCES = (1, 2, 4, 8, 12, 16, 20, 26, 32, 48, 64)
PLAIN_SIZE = 96


def domains() -> list[tuple[str, str]]:
    """Names, and what each is."""
    return [(name, of.what) for name, of in KNOWN.items()]


def load(names: tuple[str, ...], size: int, seed: int) -> list[fibre.Fibre]:
    """Volumes, with a bar where they have to be made."""
    if size != PLAIN_SIZE:
        shape = " x ".join(str(n) for n in fibre.SHAPE)
        raise InputError(f"{NAME} has one size, {shape}: leave out --size {size}")
    with progress_bar() as bars:
        task = bars.add_task(f"making {NAME}", total=len(names))
        found = []
        for name in names:
            found.append(fibre.load(name, seed))
            bars.advance(task)
    return found


def show(name: str, size: int, seed: int, out: Path | None, json: bool) -> None:
    """What a domain is made of, and what its volume measures."""
    volume = load((name,), size, seed)[0]
    shares = np.bincount(volume.truth.ravel(), minlength=len(fibre.CLASSES)) / volume.truth.size
    greys = {
        phase: {"share": float(share), "mean": float(grey.mean()), "deviation": float(grey.std())}
        for index, (phase, share) in enumerate(zip(fibre.CLASSES, shares, strict=True))
        for grey in [volume.image[volume.truth == index]]
    }
    made_of = {"composite": asdict(KNOWN[name].composite), "scan": asdict(KNOWN[name].scan)}
    if json:
        print_json({"domain": name, "seed": seed, "phases": greys, **made_of})
    else:
        console = results()
        console.print(f"[bold]{name}[/bold], {KNOWN[name].what}, simulated, {fibre.SHAPE}, seed {seed}")
        for phase, of in greys.items():
            console.print(f"  {phase}: share {of['share']:.4f}, grey {of['mean']:.1f}, deviation {of['deviation']:.1f}")
        for part, settings in made_of.items():
            console.print(f"  {part}: " + ", ".join(f"{k} {v}" for k, v in settings.items()), soft_wrap=True)
    if out is not None:
        z = TESTED[len(TESTED) // 2]
        volumes.draw(out, name, volume.image[z], {"truth": volume.truth[z]}, len(fibre.CLASSES))


def make(size: int, seed: int, out: Path | None) -> None:
    """Makes all domains, and writes them as TIFF where a folder is named."""
    if out is not None:
        check_output_folder(out, need_bytes=len(fibre.DOMAINS) * int(np.prod(fibre.SHAPE)) * 5)
    found = load(fibre.DOMAINS, size, seed)
    for name, volume in zip(fibre.DOMAINS, found, strict=True):
        if out is not None:
            volumes.write(out, name, volume)
    where = f", written to {out}" if out is not None else ""
    NOTES.print(f"{NAME}: {len(found)} domains of {fibre.SHAPE} voxels, seed {seed}{where}")


def check(json: bool) -> None:
    """How alike layers are by distance, and what lies between the parts."""
    truth = load((fibre.DOMAINS[0],), PLAIN_SIZE, 0)[0].truth
    phases = {1: "fibre", 2: "porosity"}
    alike = {
        name: {distance: again(truth, phase, distance) for distance in DISTANCES} for phase, name in phases.items()
    }
    chance = {name: float(np.mean(truth == phase)) for phase, name in phases.items()}
    apart = min(VALIDATED[0] - TRAINED[-1], TESTED[0] - VALIDATED[-1])
    parts = {"train": TRAINED, "validation": VALIDATED, "test": TESTED}
    layers = {name: [part[0], part[-1]] for name, part in parts.items()}
    if json:
        print_json({"again": alike, "chance": chance, "least_distance": apart, "layers": layers})
        return
    table = Table("layers apart", "fibre that is fibre again", "porosity likewise", pad_edge=False)
    for distance in DISTANCES:
        table.add_row(str(distance), *(f"{by[distance]:.3f}" for by in alike.values()))
    table.add_row("chance", *(f"{share:.3f}" for share in chance.values()))
    console = results()
    console.print(table)
    said = ", ".join(f"{name} {first} to {last}" for name, (first, last) in layers.items())
    console.print(f"layers: {said}; the parts lie {apart} layers apart, {GAP} left out.", soft_wrap=True)
