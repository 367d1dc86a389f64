"""The machine: processor, threads, memory and disk, with the limits that a container sets."""

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from segbench.data.cache import folder
from segbench.doctor.finding import Finding
from segbench.hardware import cores, processor

GB = 10**9
LEAST_MEMORY, LEAST_DISK = 2 * GB, 1 * GB  # what vnet-battery's tiles take, and a small result
CGROUP = Path("/sys/fs/cgroup")
# what engines look for, and how Linux calls it; any one of the flags will do
FEATURES = {
    "avx2": ("avx2",),
    "avx512": ("avx512f",),
    "int8": ("avx512_vnni", "avx_vnni", "amx_int8", "asimddp"),
    "bf16": ("avx512_bf16", "amx_bf16", "bf16"),
    "amx": ("amx_tile",),
}


def machine() -> Iterator[Finding]:
    """Processor and threads; a line each."""
    flags = processor_flags(Path("/proc/cpuinfo"))
    there = [name for name, any_of in FEATURES.items() if flags & set(any_of)]
    lacks = [name for name in FEATURES if name not in there]
    said = f"{processor()}; {', '.join(there) or 'none'}; not {', '.join(lacks) or 'one is missing'}"
    yield Finding(topic="machine", name="processor", said=said if flags else f"{processor()}; features unknown")
    yield Finding(
        topic="machine",
        name="system",
        said=f"{platform.system()} {platform.release()}, Python {sys.version.split()[0]}",
    )


def threads(root: Path = CGROUP) -> Iterator[Finding]:
    """Cores that this process may use, and the share of them that its container grants."""
    mine, there, quota = cores(), os.cpu_count() or 1, cpu_quota(root)
    numbers = {"cores": float(there), "usable": float(mine)} | ({"granted": quota} if quota else {})
    said = f"{mine} of {there} cores may be used"
    if told := os.environ.get("OMP_NUM_THREADS"):
        said += f"; OMP_NUM_THREADS is {told}"
    if quota and quota < mine:
        said += f"; the container grants {quota:g}: more threads than that wait for each other"
        fix = f"segbench predict --threads {max(1, int(quota))}"
        yield Finding(topic="machine", name="threads", status="failed", said=said, fix=fix, numbers=numbers)
    else:
        yield Finding(topic="machine", name="threads", said=said, numbers=numbers)


def memory(root: Path = CGROUP) -> Iterator[Finding]:
    """Memory that is free, and the limit that the container sets."""
    total, free = system_memory()
    limit = memory_limit(root)
    if limit is not None:
        total, free = min(total, limit[0]), min(free, limit[1])
    said = f"{free / GB:.1f} of {total / GB:.1f} GB are free" + (", by the container's limit" if limit else "")
    few = free < LEAST_MEMORY
    yield Finding(
        topic="machine",
        name="memory",
        status="failed" if few else "ok",
        said=said,
        fix=f"free some: tiles of the default model need about {LEAST_MEMORY / GB:g} GB" if few else "",
        numbers={"total_bytes": float(total), "free_bytes": float(free)},
    )


def disks() -> Iterator[Finding]:
    """Free space where results go by default, and where simulated volumes are kept."""
    for name, path in (("working folder", Path.cwd()), ("cache", folder(0, 0, 0).parents[1])):
        there = next(p for p in (path, *path.parents) if p.exists())
        free, writable = shutil.disk_usage(there).free, os.access(there, os.W_OK)
        few = free < LEAST_DISK
        fix = "set SEGBENCH_CACHE to another folder" if name == "cache" else "work in another folder"
        yield Finding(
            topic="machine",
            name=name,
            status="ok" if writable and not few else "failed",
            said=f"{free / GB:.1f} GB are free in {path}" + ("" if writable else ", which cannot be written"),
            fix="" if writable and not few else fix,
            numbers={"free_bytes": float(free)},
        )


def processor_flags(cpuinfo: Path) -> frozenset[str]:
    """What Linux calls the processor's features; nothing elsewhere."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
    except OSError:
        return frozenset()
    found = (text.split(":", 1)[1] for text in lines if text.startswith(("flags", "Features")) and ":" in text)
    return frozenset(next(found, "").split())


def system_memory() -> tuple[int, int]:
    """Total and free bytes of the machine."""
    try:
        pairs = (text.split(":", 1) for text in Path("/proc/meminfo").read_text(encoding="utf-8").splitlines())
        kilobytes = {name: int(value.split()[0]) for name, value in pairs}
        return kilobytes["MemTotal"] * 1024, kilobytes["MemAvailable"] * 1024
    except OSError:
        page = os.sysconf("SC_PAGE_SIZE")
        total = page * os.sysconf("SC_PHYS_PAGES")
        return total, page * os.sysconf("SC_AVPHYS_PAGES") if "SC_AVPHYS_PAGES" in os.sysconf_names else total


def cpu_quota(root: Path) -> float | None:
    """Cores that cgroups (version 2, or 1) grant this process; None without a limit."""
    granted = [
        int(quota) / int(period)
        for quota, period in (text.split() for text in _said(root, "cpu.max"))
        if quota != "max"
    ]
    for quota, period in zip(
        _said(root / "cpu", "cpu.cfs_quota_us"), _said(root / "cpu", "cpu.cfs_period_us"), strict=False
    ):
        granted += [int(quota) / int(period)] if int(quota) > 0 else []
    return min(granted, default=None)


def memory_limit(root: Path) -> tuple[int, int] | None:
    """Bytes that cgroups grant this process, and how many of them are left; None without a limit."""
    limits = [int(text) for text in _said(root, "memory.max") if text != "max"]
    limits += [int(text) for text in _said(root / "memory", "memory.limit_in_bytes")]
    limits = [limit for limit in limits if limit < 2**60]  # version 1 writes "none" as a huge number
    if not limits:
        return None
    used = [int(text) for text in (*_said(root, "memory.current"), *_said(root / "memory", "memory.usage_in_bytes"))]
    return min(limits), max(0, min(limits) - min(used, default=0))


def _said(root: Path, name: str) -> list[str]:
    """What the files of that name say, from this process's group up to the root."""
    try:
        groups = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        groups = []
    own = next((text.rsplit(":", 1)[1].strip("/") for text in groups if text.startswith("0:")), "")
    places = [root / own, *(root / own).parents] if own else [root]
    found = []
    for place in places:
        if place.is_relative_to(root) and (place / name).is_file():
            found.append((place / name).read_text(encoding="utf-8").strip())
    return found
