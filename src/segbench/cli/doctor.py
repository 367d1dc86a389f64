"""`segbench doctor`."""

import sys

from rich.table import Table

from segbench.cli.screen import print_json, results
from segbench.doctor.finding import Finding
from segbench.doctor.run import examine

ABOUT = {"engines": "proved on a small image; logits and labels against the first one's"}
STYLES = {"ok": "green", "missing": "yellow", "failed": "bold red", "not tried": "dim"}


def run_doctor(json: bool) -> None:
    """Looks at the machine and prints the page; exits with 1 where the main job cannot run."""
    report = examine()
    if json:
        print_json(report.model_dump(mode="json"))
    else:
        wide = max(len(finding.name) for finding in report.findings)
        for topic in dict.fromkeys(finding.topic for finding in report.findings):
            results().print(f"\n[bold]{topic}[/bold]  [dim]{ABOUT.get(topic, '')}[/dim]".rstrip())
            results().print(_grid([f for f in report.findings if f.topic == topic], wide))
        said = (
            "[green]segbench can run here"
            if report.works
            else "[bold red]segbench cannot run here: see models and engines above"
        )
        results().print(f"\n{said}[/] (looked for {report.seconds:.1f} s)")
    if not report.works:
        sys.exit(1)


def _grid(findings: list[Finding], wide: int) -> Table:
    """A line each: status, name, what was found, and below what to do; once for neighbours of one remedy."""
    table = Table.grid(padding=(0, 1))
    table.add_column(width=max(map(len, STYLES)))
    table.add_column(width=wide)
    table.add_column(overflow="fold")
    for finding, following in zip(findings, [*findings[1:], None], strict=True):
        style = STYLES[finding.status]
        table.add_row(f"[{style}]{finding.status}[/]", _plain(finding.name), _plain(finding.said))
        if finding.fix and (following is None or following.fix != finding.fix):  # one command mends them all
            table.add_row("", "", f"[cyan]{_plain(finding.fix)}[/]")
    return table


def _plain(text: str) -> str:
    """Text without markup of its own, in characters that every terminal has."""
    from rich.markup import escape

    return escape(text.encode("ascii", "replace").decode() if not _unicode() else text)


def _unicode() -> bool:
    return "utf" in (sys.stdout.encoding or "").lower()
