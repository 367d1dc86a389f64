"""`segbench data`."""

from dataclasses import asdict
from pathlib import Path

from rich.table import Table

from segbench.cli import fib, fibre, volumes
from segbench.cli.screen import NOTES, print_json, progress_bar, results
from segbench.data import battery16
from segbench.data.case import Case
from segbench.data.domains import DOMAINS
from segbench.data.manifest import read_manifest
from segbench.data.manifest_check import check
from segbench.errors import UnknownNameError
from segbench.evaluate.printed import sandia
from segbench.io import check_output_folder
from segbench.metrics.viability import separability, viability

OTHERS = (fib, fibre)
"""Simulated sets beside battery16: a module of the same functions each."""


def list_domains(json: bool) -> None:
    """The sixteen of battery16, with what the study prints of each, and those of the other simulated sets."""
    printed = sandia()
    if json:
        sixteen = [{"data": "battery16", "domain": name, **printed.of(name)} for name in DOMAINS]
        others = [(of.NAME, *domain) for of in OTHERS for domain in of.domains()]
        print_json(sixteen + [{"data": data, "domain": name, "what": what} for data, name, what in others])
        return
    table = Table("domain", "printed accuracy", "printed viability, human", "and model", pad_edge=False)
    for name in DOMAINS:
        values = printed.of(name).values()
        table.add_row(name, *(f"{value:.3f}" for value in values))
    console = results()
    console.print("[bold]battery16[/bold]")
    console.print(table)
    console.print("Simulated stand-ins with the names of the study's domains; the printed values are the study's.\n")
    said = {
        fib.NAME: "Simulated slices of three phases; battery-fib-paper is the first domain, split as the study did.\n",
        fibre.NAME: "Simulated volumes of glass fibres in a polymer, with few pores.",
    }
    for of in OTHERS:
        console.print(f"[bold]{of.NAME}[/bold]")
        table = Table("domain", "what it is", pad_edge=False)
        for name, what in of.domains():
            table.add_row(name, what)
        console.print(table)
        console.print(said[of.NAME])


def load(names: list[str], size: int, seed: int) -> list[Case]:
    """Cases of battery16, with a bar where they have to be made."""
    with progress_bar() as bars:
        task = bars.add_task("making battery16", total=None, visible=False)

        def made(done: int, total: int, name: str) -> None:
            bars.update(task, completed=done, total=total, visible=True, description=f"making {name}")

        return battery16.load(names, size, seed, progress=made)


def show_domain(name: str, size: int, seed: int, out: Path | None, json: bool) -> None:
    """What a domain is made of, and what its volume measures."""
    for of in OTHERS:
        if name in dict(of.domains()):
            of.show(name, size, seed, out, json)
            return
    case = load([name], size, seed)[0]
    domain = DOMAINS[name]
    measured = {
        "share of active material": float(case.truth.mean()),
        "human label agrees with the truth": float((case.label == case.truth).mean()),
        "viability of the human label": viability(case.image, case.label),
        "viability of the truth": viability(case.image, case.truth),
        "separability of the truth": separability(case.image, case.truth),
    }
    made_of = {part: asdict(getattr(domain, part)) for part in ("geometry", "scan", "annotator")}
    if json:
        print_json({"domain": name, "size": size, "seed": seed, "measured": measured, **made_of})
    else:
        console = results()
        console.print(f"[bold]{name}[/bold], simulated, {size}^3 voxels, seed {seed}")
        for what, value in measured.items():
            console.print(f"  {what}: {value:.3f}")
        for part, values in made_of.items():
            console.print(f"  {part}: " + ", ".join(f"{k} {v}" for k, v in values.items()), soft_wrap=True)
    if out is not None:
        z = len(case.image) // 2
        planes = {"truth": case.truth[z], "human-like label": case.label[z]}
        volumes.draw(out, case.domain, case.image[z], planes, len(battery16.CLASSES))


def make_data(name: str, size: int, seed: int, out: Path | None) -> None:
    """Makes a simulated data set, and writes it as TIFF where a folder is named."""
    for of in OTHERS:
        if name == of.NAME:
            of.VOLUMES.write(size, seed, out)
            return
    if name != "battery16":
        raise UnknownNameError("data set to make", name, ["battery16", *(of.NAME for of in OTHERS)])
    if out is not None:
        check_output_folder(out, need_bytes=len(DOMAINS) * size**3 * 6)
    cases = load(list(DOMAINS), size, seed)
    for case in cases if out is not None else []:
        assert out is not None
        volumes.write(out, case.domain, case)
    where = f", written to {out}" if out is not None else ""
    NOTES.print(f"battery16: {len(cases)} domains of {size}^3 voxels, seed {seed}{where}")


def check_manifest(path: Path, root: Path | None, json: bool) -> None:
    """Checks a manifest; warnings are printed, errors are one line and exit code 2."""
    for of in OTHERS:
        if str(path) == of.NAME:
            of.check(json)
            return
    manifest = read_manifest(path)
    with progress_bar() as bars:
        task = bars.add_task("checking", total=sum(len(d.case) for d in manifest.domain))
        report = check(manifest, root, lambda _: bars.advance(task))
    if json:
        print_json({"warnings": report.warnings, "cases": [asdict(case) for case in report.cases]})
        return
    table = Table("domain", "case", "split", "shape (Z, Y, X)", "dtype", "voxel (µm)", pad_edge=False)
    for name in manifest.classes:
        table.add_column(name, justify="right")
    for case in report.cases:
        voxel = "unknown" if case.voxel_um is None else " ".join(f"{v:g}" for v in case.voxel_um)
        shape = " ".join(str(n) for n in case.shape)
        shares = (f"{share:.3f}" for share in case.shares)
        table.add_row(case.domain, case.name, case.split, shape, case.dtype, voxel, *shares)
    results().print(table)
    for warning in report.warnings:
        results().print(f"  warning: {warning}", style="yellow", soft_wrap=True)
    count = "1 case" if len(report.cases) == 1 else f"{len(report.cases)} cases"
    results().print(f"{manifest.name}: {count} load; splits do not overlap. Licence: {manifest.licence}")
