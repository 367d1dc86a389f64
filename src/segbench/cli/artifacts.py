"""What the commands of `segbench.cli.delivery` do and print."""

from pathlib import Path

from segbench.cli.screen import print_json, results
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
