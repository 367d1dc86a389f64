"""Proof that a manifest loads, that its splits do not overlap and that image and label align."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segbench.data.manifest import UNLABELLED, Located, Manifest, overlap
from segbench.data.manifest_load import classes_of, hashes, volumes
from segbench.errors import InputError
from segbench.io import blocks, check_image, open_volume
from segbench.volume import Float32, UInt8, Volume

SHIFTS = (2, 4, 8, 16, 32)
ALIGN_SLICES = 8
# A label may fit this much worse than a moved one before it is doubted: labels are human, noise is real.
ALIGN_MARGIN = 1.05
# Share of the grey-value variance that the classes explain; below it the image hardly shows them.
ALIGN_FLOOR = 0.02


@dataclass(frozen=True)
class CaseSummary:
    """What is in a case.

    Attributes:
        domain: Name of the domain.
        name: Name of the case.
        split: train, validation or test.
        shape: Voxels along (Z, Y, X).
        dtype: Type of the image's voxels.
        voxel_um: Voxel size, None where unknown.
        shares: Fraction of the labelled voxels of each class.
        alignment: Share of the grey-value variance that the label explains, in [0, 1].
    """

    domain: str
    name: str
    split: str
    shape: tuple[int, int, int]
    dtype: str
    voxel_um: tuple[float, float, float] | None
    shares: tuple[float, ...]
    alignment: float


@dataclass(frozen=True)
class Report:
    """What a check found: a line per warning, a summary per case."""

    warnings: tuple[str, ...]
    cases: tuple[CaseSummary, ...]


def check(manifest: Manifest, root: Path | None = None, on_case: Callable[[CaseSummary], None] | None = None) -> Report:
    """Reads everything that the manifest names, block by block.

    Args:
        manifest: What to check.
        root: Folder of the data; the manifest's own if None.
        on_case: Called after each good case, for progress.

    Raises:
        InputError: The first problem, with the count of further ones.
    """
    problems: list[str] = []
    warnings: list[str] = []
    summaries: list[CaseSummary] = []
    seen: dict[bytes, Located] = {}
    for located in manifest.cases(root):
        try:
            summary, slices, doubts = _check_case(manifest, located)
        except InputError as error:
            problems.append(str(error))
            continue
        # by pixels, not by file: a copy under another name or in another format is found too
        twin = next((seen[digest] for digest in slices if digest in seen), None)
        if twin is not None:
            problems.append(overlap(twin.domain.name, twin.case, located.domain.name, located.case))
        seen |= dict.fromkeys(slices, located)
        warnings += [f"{located.domain.name}/{located.case.name}: {doubt}" for doubt in doubts]
        summaries.append(summary)
        if on_case is not None:
            on_case(summary)
    if problems:
        more = f" (and {len(problems) - 1} more problems)" if len(problems) > 1 else ""
        raise InputError(f"{manifest.path or manifest.name}: {problems[0]}{more}")
    return Report((*warnings, *_neighbours(manifest)), tuple(summaries))


def _check_case(manifest: Manifest, located: Located) -> tuple[CaseSummary, set[bytes], list[str]]:
    doubts = _missing_hashes(located)
    image, label = volumes(located)
    check_image(image)
    counts = np.zeros(UNLABELLED + 1, dtype=np.int64)
    slices: set[bytes] = set()
    for part in blocks(image):
        counts += np.bincount(classes_of(located, label, part).ravel(), minlength=len(counts))
        slices |= {_digest(plane) for plane in np.asarray(image.data[part]) if plane.min() != plane.max()}
    counts = counts[: len(manifest.classes)]
    if not counts.any():
        raise InputError(f'{located.label}: no labelled voxel: all of its values mean "ignore"')
    doubts += [
        f"class {name!r} is absent from the label"
        for name, count in zip(manifest.classes, counts, strict=True)
        if not count
    ]
    alignment, doubt = _alignment(located, image, label)
    doubts += [doubt] if doubt else []
    own = open_volume(located.image).voxel_um
    if own and image.voxel_um and not np.allclose(own, image.voxel_um, rtol=0.01):
        doubts.append(f"voxel_um is {image.voxel_um}, but the file says {own}")
    shares = tuple(float(share) for share in counts / counts.sum())
    names = (located.domain.name, located.case.name, located.case.split)
    dtype = str(np.dtype(image.data.dtype))
    return CaseSummary(*names, image.shape, dtype, image.voxel_um, shares, alignment), slices, doubts


def _missing_hashes(located: Located) -> list[str]:
    stated = (located.case.image_sha256, located.case.label_sha256)
    return [
        f'no hash in the manifest, add: {kind}_sha256 = "{found}"'
        for kind, known, found in zip(("image", "label"), stated, hashes(located), strict=True)
        if known is None
    ]


def _digest(plane: Float32) -> bytes:
    """Of the grey values, whatever type and file they were stored in."""
    values = np.ascontiguousarray(plane, dtype=np.float32)
    return hashlib.blake2b(values.tobytes() + repr(values.shape).encode(), digest_size=16).digest()


def _alignment(located: Located, image: Volume, label: Volume) -> tuple[float, str | None]:
    """Variance explained by the label as it lies, and a doubt if it explains more when flipped or shifted."""
    depth = image.shape[0]
    half = np.linspace(0, depth - 1, min(depth, ALIGN_SLICES)).round().astype(int)
    # symmetric: reversed order stays comparable
    picked = sorted(located.slices or {*half.tolist(), *(depth - 1 - half).tolist()})[: 2 * ALIGN_SLICES]
    grey = np.stack([np.asarray(image.data[z], dtype=np.float32) for z in picked])
    classes = np.stack([classes_of(located, label, slice(z, z + 1))[0] for z in picked])
    as_is = explained(grey, classes)
    if np.isnan(as_is):
        return as_is, None
    moved = {"flipped along Y": classes[:, ::-1], "flipped along X": classes[:, :, ::-1]}
    moved["turned by 180 degrees"] = classes[:, ::-1, ::-1]
    if len(picked) > 1 and located.slices is None:
        moved["with its slices reversed"] = classes[::-1]
    if classes.shape[1] == classes.shape[2]:
        moved["transposed"] = classes.swapaxes(1, 2)
    scores = {name: explained(grey, other) for name, other in moved.items()}
    for axis, name in ((1, "Y"), (2, "X")):
        for shift in (s for s in SHIFTS if 4 * s < grey.shape[axis]):
            front, back = slice(shift, None), slice(None, -shift)
            for sign, a, b in (("+", front, back), ("-", back, front)):
                keep_a, keep_b = [slice(None)] * 3, [slice(None)] * 3
                keep_a[axis], keep_b[axis] = a, b
                scores[f"shifted by {sign}{shift} along {name}"] = explained(
                    grey[tuple(keep_a)], classes[tuple(keep_b)]
                )
    best = max((name for name in scores if not np.isnan(scores[name])), key=scores.__getitem__, default=None)
    if best is not None and scores[best] > ALIGN_MARGIN * max(as_is, ALIGN_FLOOR):
        return as_is, f"image and label may not align: the label fits better {best}"
    if as_is < ALIGN_FLOOR:
        return as_is, "image and label may not align: the grey values of the classes hardly differ"
    return as_is, None


def explained(grey: Float32, classes: UInt8) -> float:
    """Share of the variance of `grey` between classes, of labelled voxels; NaN of but one class or one grey."""
    known = classes != UNLABELLED
    flat, named = grey[known].astype(np.float64), classes[known]
    flat -= flat.mean() if flat.size else 0.0
    counts = np.bincount(named)
    sums = np.bincount(named, weights=flat)
    total = float(flat @ flat)
    if np.count_nonzero(counts) < 2 or total == 0:
        return float("nan")
    present = counts > 0
    return float((sums[present] ** 2 / counts[present]).sum() / total)


def _neighbours(manifest: Manifest) -> list[str]:
    """Slices side by side are nearly equal: a test set that touches the training set is not new to it."""
    cuts = [(case.image, case.z, case) for domain in manifest.domain for case in domain.case if case.z is not None]
    return [
        f"{a.name} ({a.split}) and {b.name} ({b.split}) touch at slice {second[0]} of {path}: leave a gap"
        for path, first, a in cuts
        for other, second, b in cuts
        if path == other and first[1] == second[0] and a.split != b.split
    ]
