"""A comparison as a table, as Markdown, as a dictionary for JSON and as JUnit XML."""

import math
import re
from dataclasses import asdict
from typing import Any
from xml.etree import ElementTree

from segbench.evaluate.compare_lines import MEAN, Comparison, Line
from segbench.evaluate.compare_scores import SECONDS

MOST = 40  # lines that have not moved, where there is no mean to show
NAMED = 4  # scores that the last line names
ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0, 2.2
ORDER = ("regression", "changed", "improved", "moved", "unmeasured", "same")
HEADINGS = ("metric", "domain", "base", "new", "difference", "limit", "verdict")


def shown(comparison: Comparison) -> list[Line]:
    """What a reader wants to see: what moved, the worst first, then the means."""
    moved = [line for line in comparison.lines if line.verdict not in ("same", "unmeasured") or _timed(line)]
    moved.sort(key=lambda line: (ORDER.index(line.verdict), -line.excess))
    means = [line for line in comparison.lines if line.domain == MEAN] or list(comparison.lines)[:MOST]
    return moved + [line for line in means if line not in moved]


def cells(line: Line) -> list[str]:
    """A line as text, one for each of `HEADINGS`."""
    verdict = f"{line.verdict}: {line.why}" if line.why else line.verdict
    if _timed(line):
        difference, limit = (_percent(value) for value in (line.difference, line.limit))
        return [line.metric, line.domain, f"{line.base:.4g} s", f"{line.new:.4g} s", difference, limit, verdict]
    return [line.metric, line.domain, *(_number(v) for v in (line.base, line.new)), _number(line.difference, sign="+"),
            _small(line.limit), verdict]  # fmt: skip


def summary(comparison: Comparison) -> str:
    """The last line: whether it passes, and what is worse where."""
    counted = f"{comparison.comparisons} comparisons in {comparison.over}"
    if comparison.passed:
        return f"pass: nothing is worse than its limit, {counted}"
    worst: dict[str, list[Line]] = {}
    for line in comparison.regressions:
        worst.setdefault(line.metric, []).append(line)
    named = [_named(lines[0], len(lines) - 1) for lines in worst.values()]
    more = f"; and {len(named) - NAMED} more scores" if len(named) > NAMED else ""
    return f"regression: {'; '.join(named[:NAMED])}{more} ({counted})"


def plain(comparison: Comparison) -> dict[str, Any]:
    """For JSON: all lines, unrounded."""
    return {
        "verdict": "pass" if comparison.passed else "regression",
        "summary": summary(comparison),
        "regressions": [{"metric": line.metric, "domain": line.domain} for line in comparison.regressions],
        **asdict(comparison),
    }


def markdown(comparison: Comparison) -> str:
    """For a pull request or a job's summary."""
    rows = [HEADINGS, ["---", "---", "---:", "---:", "---:", "---:", "---"], *map(cells, shown(comparison))]
    escaped = ["| " + " | ".join(_markdown(cell) for cell in row) + " |" for row in rows]
    heading = "passes" if comparison.passed else "is worse"
    title = f"# {_markdown(comparison.new)} {heading}, compared with {_markdown(comparison.base)}"
    notes = "\n".join(f"- {_markdown(note)}" for note in (comparison.how, *comparison.notes))
    return "\n\n".join([title, _markdown(summary(comparison)), "\n".join(escaped), notes]) + "\n"


def junit(comparison: Comparison) -> str:
    """A test case for each score of each domain; what is not judged is skipped."""
    bad, left = len(comparison.regressions), sum(line.verdict == "unmeasured" for line in comparison.lines)
    counts = {"tests": str(len(comparison.lines)), "failures": str(bad), "errors": "0", "skipped": str(left)}
    root = ElementTree.Element("testsuites", {"name": "segbench compare", **counts, "time": "0"})
    suite = ElementTree.SubElement(root, "testsuite", {"name": _xml(f"{comparison.new} against {comparison.base}"),
                                                       **counts, "time": "0"})  # fmt: skip
    properties = ElementTree.SubElement(suite, "properties")
    said = (("base", comparison.base), ("new", comparison.new), ("how", comparison.how))
    for name, value in (*said, *(("note", note) for note in comparison.notes)):
        ElementTree.SubElement(properties, "property", {"name": name, "value": _xml(value)})
    for line in comparison.lines:
        given = {"classname": _xml(f"segbench.compare.{line.metric}"), "name": _xml(line.domain), "time": "0"}
        case = ElementTree.SubElement(suite, "testcase", given)
        text = _xml(", ".join(f"{name} {cell}" for name, cell in zip(HEADINGS, cells(line), strict=True)))
        if line.verdict == "regression":
            failure = ElementTree.SubElement(case, "failure", {"message": _xml(_named(line)), "type": "regression"})
            failure.text = text
        elif line.verdict == "unmeasured":
            ElementTree.SubElement(case, "skipped", {"message": "nothing measures its noise"})
        else:
            ElementTree.SubElement(case, "system-out").text = text
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _named(line: Line, others: int = 0) -> str:
    where = "on the mean" if line.domain == MEAN else f"in {line.domain}"
    where += f" and {others} more" if others else ""
    _, _, base, new, difference, limit, _ = cells(line)
    said = line.why or f"{base} to {new} ({difference}, limit {limit})"
    return f"{line.metric} {where}: {said}"


def _timed(line: Line) -> bool:
    return line.metric in SECONDS


def _number(value: float, sign: str = "") -> str:
    if math.isnan(value):
        return "nan"
    small = 0 < abs(value) < 1e-4
    return f"{value:{sign}.1e}" if small else f"{value:{sign}.5f}"


def _small(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.2g}"


def _percent(value: float) -> str:
    return "" if math.isnan(value) else f"{100 * value:+.1f} %"


def _markdown(text: str) -> str:
    return " ".join(re.sub(r"([|\\`*_<>\[\]])", r"\\\1", text).split())


def _xml(text: str) -> str:
    return ILLEGAL.sub("�", text)
