"""`segbench train`."""

from pathlib import Path

from segbench.cli.screen import NOTES, progress_bar
from segbench.errors import InputError
from segbench.hardware import keep_memory
from segbench.train.checkpoint import Record
from segbench.train.few import BUDGET_S, write_recipe
from segbench.train.matphase.recipe import MatPhaseRecipe
from segbench.train.run import batched, read_recipe, train
from segbench.zoo.page import on


def run_train(
    recipe_file: Path | None,
    out: Path | None,
    steps: int | None,
    seed: int | None = None,
    start: str | None = None,
    budget_s: float | None = None,
    threads: int | None = None,
    batch: int | None = None,
    from_: str | None = None,
    data: Path | None = None,
    root: Path | None = None,
) -> None:
    """Trains with progress bars; validation scores are printed as they come."""
    if from_ is not None or data is not None or root is not None:
        recipe_file, budget_s = _few(recipe_file, out, start, from_, data, root), budget_s or BUDGET_S
    if recipe_file is None:
        raise InputError(
            "give a recipe, such as train/vnet-battery.toml, or --from MODEL --data MANIFEST.toml --out DIR"
        )
    recipe = read_recipe(recipe_file)
    folder = out or Path("runs") / recipe.name
    network = recipe.first if isinstance(recipe, MatPhaseRecipe) else recipe
    planned = network.steps if batch is None else batched(network, batch).steps
    keep_memory()
    with progress_bar() as bars:
        making = bars.add_task("making training volumes", total=None, visible=False)
        stepping = bars.add_task("training", total=min(planned, steps or planned), visible=False)

        def made(done: int, total: int, name: str) -> None:
            bars.update(making, completed=done, total=total, visible=True, description=f"making {name}")

        def stepped(record: Record) -> None:
            bars.update(making, visible=False)
            text = f"training, loss {record['loss']:.3f}"
            if "stage" in record:
                text = f"{record['stage']}, step {record['step']}, loss {record['loss']:.3f}"
                bars.update(stepping, total=1, completed=float(record["share"] or 0), visible=True, description=text)
                return
            bars.update(stepping, completed=int(record["step"] or 0), visible=True, description=text)
            if "validation_miou" in record:
                accuracy, miou = record["validation_accuracy"], record["validation_miou"]
                NOTES.print(
                    f"step {record['step']}: loss {record['loss']:.4f}; "
                    f"validation accuracy {accuracy:.4f}, mIoU {miou:.4f}"
                )

        card = train(recipe_file, folder, steps, made, stepped, seed, start, budget_s, threads, batch)
    spent = f", {card.training.processor_s:.0f} s of processor time" if card.training.processor_s else ""
    done = f"{card.name}: {card.training.steps} steps{spent}, written to {folder}"
    where = on(card) if data is None else f" --data {data}" + (f" --root {root}" if root else "")
    NOTES.print(f"{done}; try: segbench eval --zoo {folder}{where}", soft_wrap=True)


def _few(
    recipe: Path | None, out: Path | None, start: str | None, model: str | None, data: Path | None, root: Path | None
) -> Path:
    """The recipe that a user need not write."""
    if recipe is not None or start is not None:
        raise InputError("--from makes a recipe of its own: leave out the recipe and --start, or leave out --from")
    if model is None or data is None or out is None:
        raise InputError("from few labels: give all of --from MODEL --data MANIFEST.toml --out DIR")
    file = write_recipe(model, data, out, root)
    NOTES.print(f"recipe written to {file}", soft_wrap=True)
    return file
