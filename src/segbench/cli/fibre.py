"""`segbench data` on fibre-composite."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
from rich.table import Table

from segbench.cli import volumes
from segbench.cli.screen import print_json, results
from segbench.data import fibre
from segbench.data.fibre.split import GAP, TESTED, TRAINED, VALIDATED, again
from segbench.data.fibre.volume import KNOWN

NAME = "fibre-composite"
DISTANCES = (1, 2, 4, 8, 12, 16, 20, 26, 32, 48, 64)
VOLUMES = volumes.Simulated(NAME, fibre.DOMAINS, fibre.SHAPE, fibre.load, voxel_bytes=5)


def domains() -> list[tuple[str, str]]:
    """Names, and what each is."""
    return [(name, of.what) for name, of in KNOWN.items()]


def show(name: str, size: int, seed: int, out: Path | None, json: bool) -> None:
    """What a domain is made of, and what its volume measures."""
    volume = VOLUMES.load((name,), size, seed)[0]
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


def check(json: bool) -> None:
    """How alike layers are by distance, and what lies between the parts."""
    truth = VOLUMES.load((fibre.DOMAINS[0],), volumes.PLAIN_SIZE, 0)[0].truth
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
