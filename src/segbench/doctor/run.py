"""All probes side by side, each isolated, as one page."""

from concurrent.futures import ThreadPoolExecutor
from time import perf_counter

import segbench
from segbench.doctor.cards import cards
from segbench.doctor.engines import engines
from segbench.doctor.finding import Finding, Probe, Report, Topic, isolated
from segbench.doctor.installed import extras, formats, zoo
from segbench.doctor.machine import disks, machine, memory, threads
from segbench.doctor.trial import MODEL

PROBES: tuple[tuple[Topic, str, Probe], ...] = (
    ("segbench", "models", zoo),
    ("machine", "processor", machine),
    ("machine", "threads", threads),
    ("machine", "memory", memory),
    ("machine", "disk", disks),
    ("engines", "engines", engines),
    ("NVIDIA", "driver", cards),
    ("formats", "formats", formats),
    ("extras", "extras", extras),
)


def examine(probes: tuple[tuple[Topic, str, Probe], ...] = PROBES) -> Report:
    """Looks at everything; whatever is broken is a finding."""
    begin = perf_counter()
    with ThreadPoolExecutor(len(probes)) as pool:
        found = [finding for part in pool.map(lambda probe: isolated(*probe), probes) for finding in part]
    return Report(
        segbench=segbench.__version__,
        works=works(found),
        seconds=perf_counter() - begin,
        findings=tuple(found),
    )


def works(found: list[Finding]) -> bool:
    """Whether the main job can run: the default model is whole, and an engine computed it in f32."""
    sound = [finding for finding in found if finding.status == "ok"]
    model = any(finding.topic == "segbench" and finding.name == MODEL for finding in sound)
    return model and any(finding.topic == "engines" and finding.name.endswith(" f32") for finding in sound)
