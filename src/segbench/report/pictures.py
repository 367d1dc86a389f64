"""Slices and squares as PNG inside the page: their colours are in the file, and nothing is computed to look."""

import base64
import io
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from segbench.document.colours import INFERNO, LABELS, Colour, label_colours, ramp
from segbench.report.markup import Markup, element
from segbench.volume import UInt8

MISSED: Colour = (86, 180, 233)
INVENTED: Colour = (240, 90, 30)
GREYS, HEATS = 32, 64
Int = npt.NDArray[np.int64]


def heat() -> tuple[Colour, ...]:
    """Of uncertainty, from none to the most."""
    return ramp(INFERNO, HEATS)


def grey(planes: UInt8) -> tuple[UInt8, Sequence[Colour]]:
    """Grey values as they are."""
    return planes, [(v, v, v) for v in range(256)]


def classes(planes: UInt8) -> tuple[UInt8, Sequence[Colour]]:
    """Labels, a colour each."""
    return planes, label_colours(int(planes.max()) + 1)


def uncertainty(planes: UInt8) -> tuple[UInt8, Sequence[Colour]]:
    """From black to pale yellow."""
    return (planes.astype(np.uint16) * HEATS // 256).astype(np.uint8), heat()


def error(image: UInt8, reference: UInt8, labels: UInt8, classes_: int = 2) -> tuple[UInt8, Sequence[Colour]]:
    """Wrong voxels over the dimmed image: class 1 missed or invented; of more classes in the colour of the true one."""
    shown = (image.astype(np.uint16) * GREYS // 256).astype(np.uint8)
    greys = [(round(110 * n / (GREYS - 1)),) * 3 for n in range(GREYS)]
    dimmed = [(a, b, c) for a, b, c in greys]
    if classes_ > 2:
        wrong = reference != labels
        shown[wrong] = GREYS + np.minimum(reference[wrong], len(LABELS) - 1)
        return shown, [*dimmed, *LABELS]
    shown[reference > labels] = GREYS
    shown[reference < labels] = GREYS + 1
    return shown, [*dimmed, MISSED, INVENTED]


def column(planes: UInt8, colours: Sequence[Colour]) -> bytes:
    """A PNG of planes (N, Y, X), one below the other."""
    picture = Image.fromarray(np.ascontiguousarray(planes.reshape(-1, planes.shape[2])))
    picture.putpalette([part for colour in colours for part in colour])
    return _png(picture)


def strip(parts: Sequence[tuple[UInt8, Sequence[Colour]]], gap: int = 2) -> bytes:
    """A PNG of planes (Y, X) side by side, each in its own colours; the gaps can be seen through."""
    tall, wide = parts[0][0].shape
    out = np.zeros((tall, len(parts) * (wide + gap) - gap, 4), np.uint8)
    for n, (plane, colours) in enumerate(parts):
        at = n * (wide + gap)
        out[:, at : at + wide, :3] = np.array(colours, np.uint8)[plane]
        out[:, at : at + wide, 3] = 255
    return _png(Image.fromarray(out))


def picture(png: bytes, alt: str, width: int, height: int) -> Markup:
    """The image; `alt` says what is on it."""
    address = f"data:image/png;base64,{base64.b64encode(png).decode()}"
    return element("img", src=Markup(address), alt=alt, width=width, height=height, decoding="async")


def _png(picture: Image.Image) -> bytes:
    out = io.BytesIO()
    picture.save(out, "PNG", compress_level=9)
    return out.getvalue()
