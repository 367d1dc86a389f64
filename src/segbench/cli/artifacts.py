"""What the commands of `segbench.cli.delivery` do and print."""

from pathlib import Path

from segbench.cli.screen import NOTES, print_json, results
from segbench.export.artifact import make
from segbench.zoo import find


def run_export(name: str, to: str, out: Path | None, precision: str | None, json: bool) -> None:
    """Makes the artifact and says what it holds."""
    model = find(name)
    folder = out or Path(f"{model.card.name}-{Path(to).stem}")
    artifact = make(model, to, folder, precision)
    if json:
        print_json(artifact.model_dump(mode="json"))
        return
    for part in artifact.parts:
        results().print(f"{folder / part.path}: {part.kind}, {part.precision}, for {part.runtime}", soft_wrap=True)
    results().print(f"prove it where it runs: segbench verify {folder}", soft_wrap=True)


def run_deploy(name: str, out: Path, to: list[str], wheel: Path | None, wheelhouse: bool, json: bool) -> None:
    """Makes the folder and says what to do with it."""
    from segbench.export.deploy import SUMS, TARGETS, Wheels, deploy

    def told(what: str) -> None:
        if NOTES.is_terminal and not json:
            NOTES.print(what, style="dim", markup=False)

    files = deploy(find(name), out, to or TARGETS, Wheels(wheel, wheelhouse), told)
    if json:
        print_json({"folder": str(out), "files": files})
        return
    size = sum((out / file).stat().st_size for file in files) / 1e6
    results().print(f"{out}: {len(files)} files, {size:.0f} MB, their hashes in {SUMS}", soft_wrap=True, markup=False)
    results().print(f"carry it over, then follow {out / 'README.md'}", soft_wrap=True, markup=False)
