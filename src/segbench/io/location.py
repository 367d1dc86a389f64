"""What a user wrote to name an image: a file, folder, pattern or URL, and perhaps an array inside it.

scan.h5::/entry/data      https://example.org/scan.zarr::0      scan/*.tif
"""

import re
from dataclasses import dataclass
from pathlib import Path

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/{1,2}(?=[^/])")


@dataclass(frozen=True)
class Location:
    """Where an image is.

    Attributes:
        root: A path, a pattern or a URL.
        inner: The array inside it without slashes around, such as `entry/data`; empty where none was named.
    """

    root: str
    inner: str = ""

    def __str__(self) -> str:
        return f"{self.root}::/{self.inner}" if self.inner else self.root

    @property
    def remote(self) -> bool:
        """Whether it is a URL."""
        return _URL.match(self.root) is not None

    @property
    def path(self) -> Path:
        """The file, folder or pattern."""
        return Path(self.root)


def locate(path: str | Path) -> Location:
    """Splits what a user wrote; a file whose name has `::` in it is taken as it is."""
    text = str(path)
    if (scheme := _URL.match(text)) is not None:
        # a Path has made one slash of two
        text = f"{scheme[1].lower()}://{text[scheme.end() :]}"
    root, separator, inner = text.rpartition("::")
    if not separator or not root or _exists(text):
        return Location(text)
    return Location(root, inner.strip("/"))


def _exists(text: str) -> bool:
    try:
        return Path(text).exists()
    except (OSError, ValueError):
        return False
