"""What was found of one thing, and all of it as a page."""

from collections.abc import Callable, Iterable
from typing import Literal

from segbench.errors import SegbenchError
from segbench.recipe import Strict

Topic = Literal["segbench", "machine", "engines", "NVIDIA", "formats", "extras"]
Status = Literal["ok", "missing", "failed", "not tried"]


class Finding(Strict):
    """One line of the page.

    Attributes:
        topic: Under which heading it stands.
        name: What was looked at.
        status: "missing" is what could be installed; "failed" is there and does not work, or is too little.
        said: What was found, in one line.
        fix: What to type or to do about it; empty where nothing is wrong.
        numbers: What was measured; counts, bytes and seconds as their names say.
    """

    topic: Topic
    name: str
    status: Status = "ok"
    said: str
    fix: str = ""
    numbers: dict[str, float] = {}


class Report(Strict):
    """All findings.

    Attributes:
        segbench: Version that looked.
        works: Whether the main job can run: the default model is whole and an engine computed it in f32.
        seconds: How long looking took.
        findings: In the order of the page.
    """

    segbench: str
    works: bool
    seconds: float
    findings: tuple[Finding, ...]


Probe = Callable[[], Iterable[Finding]]


def isolated(topic: Topic, name: str, probe: Probe) -> list[Finding]:
    """What a probe finds, up to where it fails; its failure is a finding too, never an exception."""
    found: list[Finding] = []
    try:
        for finding in probe():
            found.append(finding)  # one by one: what came before a failure stays
    except Exception as error:  # what is broken on a machine raises what it likes
        said = line(error)
        kind = "" if isinstance(error, SegbenchError) else f"{type(error).__name__}: "
        found.append(Finding(topic=topic, name=name, status="failed", said=f"{kind}{said}"))
    return found


def line(error: object, most: int = 300) -> str:
    """What an error says, in one line."""
    text = " ".join(str(error).split()) or "said nothing"
    return text if len(text) <= most else f"{text[: most - 1]}…"
