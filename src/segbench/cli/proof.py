"""`segbench verify`: what was proved, on the terminal or as JSON."""

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from segbench.cli.screen import NOTES, print_json, results
from segbench.zoo.artifact import RECORD, Check

STYLES = {"passed": "green", "failed": "bold red", "not run": "yellow"}


def run_verify(folder: Path, device: str, scored: bool, json: bool) -> bool:
    """Proves an artifact and says what was found; whether it passed."""
    from segbench.export.verify import verify

    def told(check: Check) -> None:
        if NOTES.is_terminal and not json:
            NOTES.print(f"{check.name} {check.part}: {check.status}", style="dim", markup=False)

    record = verify(folder, device, told, scored=scored)
    if json:
        print_json({"passed": record.passed, **record.model_dump(mode="json")})
        return record.passed
    show(f"{folder} on {record.machine}", record.checks)
    results().print(f"{folder}: {verdict(record.checks)}; {folder / RECORD}", soft_wrap=True, markup=False)
    return record.passed


def verdict(checks: Sequence[Check]) -> str:
    """One line: passed, or what did not."""
    failed = [check for check in checks if check.status == "failed"]
    left = [check for check in checks if check.status == "not run"]
    if failed:
        first = failed[0]
        where = f" of {first.part}" if first.part else ""
        more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        return f"FAILED: {first.name}{where}: {first.said}{more}"
    if not any(check.name == "outputs" and check.status == "passed" for check in checks):
        return f"NOT PROVED: no part could be run here: {left[0].said if left else 'it has none'}"
    done = f"passed, {len(checks) - len(left)} checks"
    return f"{done}; {len(left)} were not run" if left else done


def show(title: str, checks: Sequence[Check]) -> None:
    """A line a check."""
    rich = Table("check", "of", "", "found", title=title, title_justify="left", title_style="bold", pad_edge=False)
    for check in checks:
        status = f"[{STYLES[check.status]}]{check.status}[/]"
        rich.add_row(check.name, check.part, status, check.said.replace("[", "\\["))
    results().print(rich)


def passed(checks: Sequence[Check]) -> bool:
    """Nothing failed and something was run."""
    return verdict(checks).startswith("passed")
