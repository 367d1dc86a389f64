"""`segbench client`."""

import json as json_format
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path

import numpy as np

from segbench.cli.scans import raw_layout, voxel_edges
from segbench.cli.screen import NOTES, print_json, results
from segbench.client import Answer, Server, infer, status
from segbench.client.inference import PARTS
from segbench.errors import InputError, OutputError, RemoteError
from segbench.io import open_volume
from segbench.io.atomic import check_output_folder, replacing, write_bytes, write_tiff
from segbench.volume import Volume

LARGEST = 2**31
"""Bytes of an image as FP32: no server takes more in one request."""
FILES = (".tif", ".tiff", ".npy", ".zarr", ".h5", ".hdf5", ".nii", ".gz", ".raw", ".json", ".png")
"""What `--out` may be mistaken for."""
TOO_LARGE = 413
VARIABLE = "SEGBENCH_TOKEN"


@dataclass(frozen=True)
class Asked:
    """The command line as it was typed; see `segbench client infer --help`."""

    scan: str
    out: Path
    model: str
    version: str
    samples: int | None
    seed: int
    outputs: str
    invert: bool
    voxel_um: str | None
    raw: Mapping[str, str | int | None]
    wait: float


def server(
    url: str,
    token_file: Path | None,
    timeout: float,
    authority: Path | None,
    certificate: Path | None,
    key: Path | None,
) -> Server:
    """The server of the command line; a token is never typed there, where others see it."""
    token = os.environ.get(VARIABLE) or None
    if token_file is not None:
        try:
            lines = token_file.read_text(encoding="utf-8").split()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{token_file}: cannot be read as a file of a token: {error}") from error
        if not lines:
            raise InputError(f"{token_file}: no token in it")
        token = lines[0]
    return Server(url, token, timeout, authority, certificate, key)


def run_infer(asked: Asked, there: Server, json: bool) -> None:
    """Sends the scan, writes the answer, prints a line."""
    file = asked.out.suffix == ".npz"
    if asked.out.suffix.lower() in FILES:
        raise InputError(f"--out {asked.out}: name FILE.npz, or a folder, which gets a TIFF file for each output")
    volume = open_volume(asked.scan, voxel_edges(asked.voxel_um), raw=raw_layout(asked.raw))
    if prod(volume.shape) * 4 > LARGEST:
        raise InputError(_whole(asked, f"{asked.scan}: {prod(volume.shape):,} voxels are too many for one request"))
    if file and asked.out.is_dir():
        raise OutputError(f"{asked.out}: cannot be written, it is a folder: name a file")
    if not file:
        check_output_folder(asked.out)
    began = time.monotonic()
    names = [name.strip() for name in asked.outputs.split(",") if name.strip()]
    try:
        answer = infer(
            there.url, asked.model, np.asarray(volume.data[:]), asked.samples, asked.seed, names, there.token,
            there.timeout_s, version=asked.version, invert=asked.invert, wait=asked.wait, authority=there.authority,
            certificate=there.certificate, key=there.key,
        )  # fmt: skip
    except RemoteError as error:
        if error.status != TOO_LARGE:
            raise
        raise RemoteError(_whole(asked, str(error)), error.status) from error
    wall_s = time.monotonic() - began
    told = _told(asked, volume, answer, wall_s)
    _write(asked.out, file, volume, answer, told)
    if json:
        print_json(told)
    else:
        results().print(_line(asked, volume, answer, wall_s), soft_wrap=True, markup=False)
    if warnings := answer.parameters.get("segbench_warnings"):
        NOTES.print(f"warning: {warnings}", style="yellow", soft_wrap=True, markup=False)


def run_status(there: Server, json: bool) -> bool:
    """Prints how the server is; whether it is ready."""
    found = status(there)
    if json:
        print_json(asdict(found))
        return found.ready
    console = results()
    ready = "ready" if found.ready else "not ready"
    console.print(f"{found.url}: {found.name} {found.version}, {ready}", soft_wrap=True, markup=False)
    for model in found.models:
        why = f": {model.reason}" if model.reason else ""
        console.print(f"  {model.name} {model.version}  {model.state}{why}", soft_wrap=True, markup=False)
    return found.ready


def _whole(asked: Asked, why: str) -> str:
    return f"{why}; segbench predict {asked.scan} --zoo {asked.model} --out RESULT.zarr takes scans of any size"


def _write(out: Path, file: bool, volume: Volume, answer: Answer, told: dict[str, object]) -> None:
    text = json_format.dumps(told, indent=1)
    if file:
        with replacing(out) as temp:
            np.savez(temp, allow_pickle=False, **answer.outputs, answer=np.array(text))
        return
    for name, array in answer.outputs.items():
        if name not in PARTS:
            write_tiff(out / f"{name}.tif", array, volume.voxel_um)
            continue
        for number, part in enumerate(array):
            write_tiff(out / f"{name}_{number:02d}.tif", part, volume.voxel_um)
    write_bytes(out / "answer.json", text)  # the last: where it is, all are


def _told(asked: Asked, volume: Volume, answer: Answer, wall_s: float) -> dict[str, object]:
    return {
        "scan": asked.scan,
        "out": str(asked.out),
        "shape": list(volume.shape),
        "voxel_um": None if volume.voxel_um is None else list(volume.voxel_um),
        "model": answer.model,
        "version": answer.version,
        "parameters": dict(answer.parameters),
        "outputs": {name: {"dtype": str(a.dtype), "shape": list(a.shape)} for name, a in answer.outputs.items()},
        "shares": _shares(answer),
        "wall_s": wall_s,
    }


def _shares(answer: Answer) -> list[float] | None:
    """Share of each class's voxels, where labels were asked for."""
    if "labels" not in answer.outputs:
        return None
    counts = np.bincount(answer.outputs["labels"].ravel())
    return [int(count) / int(counts.sum()) for count in counts]


def _line(asked: Asked, volume: Volume, answer: Answer, wall_s: float) -> str:
    voxels = " x ".join(str(n) for n in volume.shape)
    sampled = answer.parameters.get("segbench_samples")
    samples = "" if sampled is None else f", {sampled} samples, seed {answer.parameters.get('segbench_seed')}"
    shares = "".join(f", class {n} {share:.4f}" for n, share in enumerate(_shares(answer) or []))
    return (
        f"{asked.out}: {', '.join(answer.outputs)} of {voxels} voxels (Z, Y, X), {answer.model} {answer.version}"
        f"{samples}{shares}, {wall_s:.2f} s"
    )
