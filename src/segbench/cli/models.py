"""`segbench zoo`."""

from pathlib import Path

from rich.table import Table

from segbench.cli.screen import print_json, progress_bar, results
from segbench.zoo import CARD, find, names
from segbench.zoo.page import page


def list_models(json: bool) -> None:
    """A line per model."""
    models = [find(name) for name in names()]
    if json:
        print_json([m.card.model_dump(mode="json", exclude_none=True) for m in models])
        return
    table = Table("model", "version", "parameters", "classes", "what it is", pad_edge=False)
    for model in models:
        card = model.card
        table.add_row(card.name, card.version, f"{card.network.parameters:,}", ", ".join(card.classes), card.title)
    results().print(table)


def show_model(name: str, json: bool) -> None:
    """The card as its page, or as JSON."""
    card = find(name).card
    if json:
        print_json(card.model_dump(mode="json", exclude_none=True))
    else:
        results().print(page(card), markup=False, soft_wrap=True)


def add_model(folder: Path, rows: list[Path], siblings: list[Path], to: Path) -> None:
    """Copies a model into a zoo with the means of its evaluations and its place among its siblings."""
    from segbench.evaluate.publish import publish

    results().print(
        f"added as {publish(find(str(folder)), rows, [find(str(s)) for s in siblings], to)}", soft_wrap=True
    )


def store_release(name: str, rows: list[str], repeats: list[str], to: Path | None) -> None:
    """Stores the rows of a release for `segbench compare`."""
    from segbench.evaluate.releases import make_release, read_run, store, store_folder

    release = make_release(find(name), [read_run(run) for run in rows], [read_run(run) for run in repeats])
    path = store(release, to or store_folder())
    results().print(
        f"{release.model}@{release.version}: {len(release.rows)} rows and {len(release.repeats)} repeats in {path}",
        soft_wrap=True, markup=False,
    )  # fmt: skip


def add_ranges(folder: Path) -> None:
    """Measures what int8 needs and pins it in the card."""
    from segbench.export.ranges import RANGES, add

    results().print(f"{add(folder).name}: {folder / RANGES} written and pinned", soft_wrap=True)


def add_reference(folder: Path) -> None:
    """Makes what `segbench verify` compares with and pins it in the card."""
    from segbench.export.reference import add
    from segbench.zoo.artifact import REFERENCE

    results().print(f"{add(folder).name}: {folder / REFERENCE} written and pinned", soft_wrap=True)


def measure_seams(folder: Path) -> None:
    """Measures what depends on where tiles end and writes it into the card."""
    from segbench.export.seams import add

    found = add(folder).seams
    assert found is not None
    results().print(
        f"with twice the halo {found.labels_per_million:.1f} labels per million change, the mean entropy by "
        f"{found.entropy:.1e} nats ({found.on})",
        soft_wrap=True,
    )


def fit_conformal(folder: Path, blocks: int, size: int, engine: str) -> None:
    """Fits bounds on simulated blocks, with a bar, and writes them into the card."""
    from segbench.evaluate.conformal import add

    with progress_bar() as bars:
        task = bars.add_task("making blocks", total=None)

        def step(what: str, done: int, total: int) -> None:
            bars.update(task, description=what, completed=done, total=total)

        card = add(folder, blocks, size, engine, step)
    found = card.conformal
    assert found is not None
    results().print(
        f"{card.name}: {found.level:.0%} interval {found.widen:+.3f} units beyond the samples'; possibly "
        f"{card.classes[1]} from {found.possible:.3f}, surely above {found.sure:.3f} ({found.on})",
        soft_wrap=True,
        markup=False,
    )


def fit_foreign(folder: Path, recipe: Path | None) -> None:
    """Fits what tells foreign input and pins it in the card, with a progress bar."""
    from segbench.train.foreign import FILE, add

    with progress_bar() as bars:
        task = bars.add_task("looking at training scans", total=None)
        card = add(folder, recipe, lambda what, done, of: bars.update(task, description=what, completed=done, total=of))
    assert card.foreign is not None
    results().print(
        f"{card.name}: {folder / FILE} written and pinned, fitted to {card.foreign.on}; scans with a score above "
        f"{card.foreign.threshold:g} are warned of",
        soft_wrap=True,
    )


def verify_models(name: str | None) -> bool:
    """Checks one model, or all, and says what was found; whether all passed."""
    from segbench.cli.proof import passed, show
    from segbench.export.verify import verify_model

    good = True
    for wanted in [name] if name else names():
        model = find(wanted)
        made = verify_model(model)
        show(f"{wanted}: files as pinned in {CARD}", made)
        good = good and passed(made)
    return good
