"""Where a run came from: everything that its rows say of it."""

import shlex
from collections.abc import Callable, Sequence

from segbench.document import short
from segbench.evaluate.cases import BATTERY16
from segbench.io.message import printable
from segbench.report.folder import Run, shown
from segbench.report.markup import Markup, count, element, join
from segbench.report.tables import region
from segbench.rows import Row

HASHES = 500  # lines of the table of volumes


def provenance(run: Run) -> Markup:
    """Model, data, engine, versions and the command of one run."""
    rows = run.rows
    facts: list[tuple[str, str]] = [
        ("folder", short(run.folder)),
        ("model", _of(rows, lambda row: row.model)),
        ("model sha256", _of(rows, lambda row: row.model_hash or "none")),
        ("data", _of(rows, lambda row: row.data)),
        ("made", _span([row.made for row in rows])),
        ("Monte-Carlo samples T", _of(rows, lambda row: str(row.samples))),
        ("seed of the masks", _of(rows, lambda row: str(row.seed))),
        ("engine", _of(rows, lambda row: f"{row.engine} {row.versions.get(row.engine, '')}")),
        ("device", _of(rows, lambda row: row.device)),
        ("precision", _of(rows, lambda row: row.precision)),
        ("threads", _of(rows, lambda row: "any" if row.threads is None else str(row.threads))),
        ("thin samples", _of(rows, lambda row: "yes" if row.thin else "no")),
        ("segbench", _of(rows, lambda row: row.segbench)),
        ("git", _of(rows, lambda row: row.git or "no checkout")),
        ("versions", _of(rows, lambda row: ", ".join(f"{name} {v}" for name, v in row.versions.items()))),
        ("volumes", f"{len(rows)}, {count(sum(row.voxels for row in rows))} voxels"),
        ("wall time", f"{sum(row.wall_s for row in rows):.1f} s"),
        ("what was timed", _of(rows, lambda row: row.timed)),
    ]
    lines = [element("tr", element("th", name, scope="row"), element("td", text)) for name, text in facts]
    table = element("table", element("tbody", *lines), class_="provenance")
    return join([table, element("p", _words(run)), element("pre", element("code", command(run))), _volumes(run)])


def command(run: Run) -> str:
    """The command that made the run; put together from its rows where it was not kept."""
    if run.slices is not None and run.slices.about.facts.command:
        return short(printable(run.slices.about.facts.command), 1000)
    row = run.first
    words = ["segbench", "eval", "--zoo", row.model, "--domain", ",".join(run.domains)]
    if row.data != BATTERY16:
        words += ["--data", f"{row.data}.toml"]
    words += ["--samples", str(row.samples), "--seed", str(row.seed), "--engine", row.engine]
    words += ["--precision", row.precision, "--thin" if row.thin else "--no-thin"]
    return short(printable(shlex.join(words)), 1000)


def _words(run: Run) -> str:
    kept = run.slices is not None and run.slices.about.facts.command
    return "Made by:" if kept else "Made by a command like this one (put together from the rows):"


def _volumes(run: Run) -> Markup:
    heads = element(
        "tr", *(element("th", word, scope="col") for word in ("domain", "case", "sha256 of volume and labels"))
    )
    lines = [
        element("tr", element("th", shown(row.domain), scope="row"), element("td", shown(row.case)),
                element("td", element("code", shown(row.data_hash))))
        for row in run.rows[:HASHES]
    ]  # fmt: skip
    title = f"Hashes of {min(len(run.rows), HASHES)} of {len(run.rows)} volumes"
    table = region(element("table", element("thead", heads), element("tbody", *lines)), title)
    return element("details", element("summary", title), table)


def _of(rows: Sequence[Row], part: Callable[[Row], str]) -> str:
    """What all rows say, or each different one."""
    told = list(dict.fromkeys(printable(part(row)) for row in rows))
    more = f"; and {len(told) - 4} others" if len(told) > 4 else ""
    return "; ".join(short(text, 400) for text in told[:4]) + more


def _span(times: Sequence[str]) -> str:
    first, last = shown(min(times)), shown(max(times))
    return first if first == last else f"{first} to {last}"
