"""`segbench tables --scale`: tables of trained methods, what is missing of them trained first."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import TaskID

from segbench.cli.screen import NOTES, progress_bar
from segbench.errors import InputError
from segbench.evaluate.definitions import TableDefinition, definition, home, table_names
from segbench.evaluate.harness import Made, make_of
from segbench.evaluate.measured import Collection, Key

if TYPE_CHECKING:
    from segbench.study.run import Asked


@dataclass(frozen=True)
class Scaled:
    """The options that go with --scale."""

    scale: str
    root: Path | None = None
    side_by_side: int | None = None


def scaled(scale: str | None, side_by_side: int | None, root: Path | None) -> Scaled | None:
    """What --scale, --jobs and --runs ask for; None where nothing is to be trained.

    Raises:
        InputError: --jobs or --runs without --scale.
    """
    if scale is None:
        if side_by_side is not None or root is not None:
            raise InputError("--jobs and --runs are of trainings: add --scale smoke, cpu or full")
        return None
    return Scaled(scale, root, side_by_side)


def make_scaled(tables: Mapping[str, TableDefinition], how: Scaled, out: Path | None) -> list[tuple[Made, list[Path]]]:
    """Trains and measures what is missing, and makes the tables.

    Returns:
        Every table with the folders that it belongs into besides `out`.

    Raises:
        InputError: A table has no trained methods.
    """
    others = [name for name, table in tables.items() if table.study is None]
    if others:
        known = [name for name in table_names() if definition(name).study is not None]
        raise InputError(f"--scale is for tables of trained methods ({', '.join(known)}), which {others[0]} is not")
    if how.side_by_side is not None and how.side_by_side < 1:
        raise InputError(f"--jobs is {how.side_by_side}: at least one training runs at a time")
    made: list[tuple[Made, list[Path]]] = []
    for name in dict.fromkeys(table.study for table in tables.values() if table.study is not None):
        own = {key: table for key, table in tables.items() if table.study == name}
        made += _study(name, own, how, out)
    return made


def _study(
    name: str, tables: Mapping[str, TableDefinition], how: Scaled, out: Path | None
) -> list[tuple[Made, list[Path]]]:
    from segbench.study.run import Asked

    asked = Asked(name, tuple(tables.values()), how.scale, how.root, how.side_by_side)
    found = _trained(asked)
    keep = [home() / "tables"] if found.study.scale_named(how.scale).stored else []
    _draw(asked, found, [*keep, *([out] if out else [])])
    return [(make_of(key, table, found), keep) for key, table in tables.items()]


def _trained(asked: "Asked") -> Collection:
    from segbench.study.pool import DONE
    from segbench.study.run import Telling, run

    lock = threading.Lock()
    with progress_bar() as bars:
        making = bars.add_task("making slices", total=None, visible=False)
        whole = bars.add_task("trainings", total=None, visible=False)
        each: dict[Key, TaskID] = {}

        def begun(keys: Sequence[Key]) -> None:
            bars.update(whole, total=len(keys), visible=bool(keys))
            NOTES.print(f"{len(keys)} trainings to do, into {asked.place}", soft_wrap=True, markup=False)

        def made(done: int, total: int, what: str) -> None:
            bars.update(making, completed=done, total=total, visible=done < total, description=f"making {what}")

        def share(key: Key, part: float) -> None:
            with lock:
                if key not in each:
                    each[key] = bars.add_task(str(key), total=100)
            bars.update(each[key], completed=round(100 * part))

        def ended(key: Key, how: str) -> None:
            bars.advance(whole)
            with lock:
                if key in each:
                    bars.remove_task(each.pop(key))
            NOTES.print(f"{key}: {how}", soft_wrap=True, markup=False, style=None if how == DONE else "yellow")

        return run(asked, Telling(begun, made, share, ended))


def _draw(asked: "Asked", found: Collection, folders: Sequence[Path]) -> None:
    from segbench.study.pictures import draw

    if not folders:
        return
    try:
        with progress_bar() as bars:
            drawing = bars.add_task("figures", total=None)
            drawn = draw(asked, found, folders, lambda title: bars.update(drawing, description=f"figures: {title}"))
    except InputError as error:
        # a model that is not there takes no table with it
        NOTES.print(str(error), style="yellow", soft_wrap=True, markup=False)
        return
    for path in drawn:
        NOTES.print(f"written: {path}", soft_wrap=True, markup=False)
