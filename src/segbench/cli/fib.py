"""`segbench data` on battery-fib."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
from rich.table import Table

from segbench.cli import volumes
from segbench.cli.screen import print_json, results
from segbench.data import fib
from segbench.data.fib.split import GAP, TESTED, TRAINED, VALIDATED, agreement, published
from segbench.data.fib.volume import ELECTRODE, KNOWN, LABELLING
from segbench.metrics.counts import confusion
from segbench.metrics.overlap import miou

NAME = "battery-fib"
DISTANCES = (1, 2, 4, 6, 8, 10, 12, 14, 16, 20, 24)
VOLUMES = volumes.Simulated(NAME, fib.DOMAINS, fib.SHAPE, fib.load, voxel_bytes=6)


def domains() -> list[tuple[str, str]]:
    """Names, and what each is."""
    return [(name, of.what) for name, of in KNOWN.items()]


def show(name: str, size: int, seed: int, out: Path | None, json: bool) -> None:
    """What a domain is made of, and what its volume measures."""
    volume = VOLUMES.load((name,), size, seed)[0]
    cleaned = fib.clean(volume.label)
    k = len(fib.CLASSES)
    shares = {
        what: dict(zip(fib.CLASSES, (np.bincount(labels.ravel(), minlength=k) / labels.size).tolist(), strict=True))
        for what, labels in (("truth", volume.truth), ("cleaned label", cleaned))
    }
    greys = {
        phase: {"mean": float(grey.mean()), "deviation": float(grey.std())}
        for index, phase in enumerate(fib.CLASSES)
        for grey in [volume.image[volume.truth == index]]
    }
    measured = {
        "cleaned label agrees with the truth": float((cleaned == volume.truth).mean()),
        "mIoU of the truth against the cleaned label": miou(confusion(cleaned, volume.truth, k)),
        "label agrees with the cleaned one": float((cleaned == volume.label).mean()),
    }
    made_of = {"electrode": asdict(ELECTRODE), "scan": asdict(KNOWN[name].scan), "labelling": asdict(LABELLING)}
    if json:
        print_json({"domain": name, "seed": seed, "shares": shares, "grey": greys, "measured": measured, **made_of})
    else:
        console = results()
        console.print(f"[bold]{name}[/bold], {KNOWN[name].what}, simulated, {fib.SHAPE}, seed {seed}")
        for title, values in (*((f"shares of the {what}", part) for what, part in shares.items()), ("", measured)):
            for what, value in values.items():
                console.print(f"  {title + ', ' if title else ''}{what}: {value:.3f}")
        for phase, grey in greys.items():
            console.print(f"  grey of {phase}: {grey['mean']:.3f}, deviation {grey['deviation']:.3f}")
        for part, settings in made_of.items():
            console.print(f"  {part}: " + ", ".join(f"{k} {v}" for k, v in settings.items()), soft_wrap=True)
    if out is not None:
        z = TESTED[len(TESTED) // 2]
        planes = {"truth": volume.truth[z], "cleaned label": cleaned[z]}
        volumes.draw(out, name, volume.image[z], planes, k)


def check(json: bool) -> None:
    """How alike slices are by distance, and what the splits are made of."""
    cleaned = fib.clean(VOLUMES.load(("clean",), volumes.PLAIN_SIZE, 0)[0].label)
    alike = {distance: agreement(cleaned, distance) for distance in DISTANCES}
    chance = float(np.square(np.bincount(cleaned.ravel()) / cleaned.size).sum())
    parts = [{z for z, _ in part} for part in published()]
    paper = [len(part) for part in published()]
    apart = min(VALIDATED[0] - TRAINED[-1], TESTED[0] - VALIDATED[-1])
    if json:
        print_json({"agreement": alike, "chance": chance, "least_distance": apart, "paper_images": paper})
        return
    table = Table("slices apart", "labels that agree", pad_edge=False)
    for distance, share in alike.items():
        table.add_row(str(distance), f"{share:.3f}")
    table.add_row("chance", f"{chance:.3f}")
    console = results()
    console.print(table)
    console.print(
        f"clean: {len(TRAINED)} slices are trained on, {len(VALIDATED)} validated, {len(TESTED)} tested; the parts lie "
        f"{apart} slices apart, {GAP} left out.\npaper: {paper[0]} images are trained on, {paper[1]} validated, "
        f"{paper[2]} tested, of {len(parts[2] - parts[0])} originals that are not trained on and of "
        f"{len(parts[2] & parts[0])} that are."
    )
