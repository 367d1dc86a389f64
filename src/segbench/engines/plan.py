"""What a TensorRT engine file was built for: a version, cards and shapes. It lies beside the file as JSON.

An engine file itself says nothing that can be read without loading it, and what TensorRT says of one that it refuses
helps nobody; so what it fits is written down where it is built, and compared before it is loaded.
"""

from pathlib import Path
from typing import Literal

from segbench.errors import EngineError
from segbench.recipe import Strict

Capability = tuple[int, int]
Span = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
"""The least, the best and the largest shape of an input."""
Cards = Literal["this", "same-capability", "ampere-and-newer", "listed"]
AMPERE: Capability = (8, 0)
# TensorRT's support matrix: version-compatible engines cross these major versions and no others
ACROSS = {(10, 11), (8, 10)}


class Plan(Strict):
    """Of one engine file.

    Attributes:
        runtime: "tensorrt" or "tensorrt-rtx".
        version: Of TensorRT that built it, such as "11.4.0.106".
        newer_too: Whether newer versions load it; it then holds code that they run.
        cards: Which cards run it: the one that built it, those of its compute capability, Ampere and newer, or the
            capabilities that are listed.
        card: Name of the one that built it; empty where none was needed.
        capability: Of that card, (major, minor).
        listed: Compute capabilities, for "listed".
        shapes: By input; what lies outside is refused.
    """

    runtime: Literal["tensorrt", "tensorrt-rtx"]
    version: str
    newer_too: bool = False
    cards: Cards
    card: str = ""
    capability: Capability | None = None
    listed: tuple[Capability, ...] = ()
    shapes: dict[str, Span]

    def check_version(self, version: str) -> None:
        """Whether that version of the runtime loads it.

        Raises:
            EngineError: It does not.
        """
        built, here = _numbers(self.version), _numbers(version)
        same_line = built[0] == here[0] or (built[0], here[0]) in ACROSS
        if built == here or (self.newer_too and same_line and here > built):
            return
        allowed = "that version or a newer one" if self.newer_too else "that version"
        raise EngineError(
            f"built with {self.runtime} {self.version}, and {version} is here: install {allowed}, or export again"
        )

    def check_card(self, card: str, capability: Capability) -> None:
        """Whether that card runs it.

        Raises:
            EngineError: It does not.
        """
        fits = {
            "this": card == self.card,
            "same-capability": capability == self.capability,
            "ampere-and-newer": capability >= AMPERE,
            "listed": capability in self.listed,
        }
        if not fits[self.cards]:
            raise EngineError(
                f"built for {self.fits}, and the card here is {card} ({_text(capability)}): export again for this card"
            )

    @property
    def fits(self) -> str:
        """Which cards run it, in words."""
        return {
            "this": self.card,
            "same-capability": f"cards of compute capability {_text(self.capability or (0, 0))}",
            "ampere-and-newer": f"cards of compute capability {_text(AMPERE)} and newer",
            "listed": f"cards of compute capability {', '.join(map(_text, self.listed))}",
        }[self.cards]

    def check_shape(self, name: str, shape: tuple[int, ...]) -> None:
        """Whether an input may have that shape.

        Raises:
            EngineError: It may not.
        """
        least, _, most = self.shapes[name]
        inside = len(shape) == len(least) and all(
            low <= edge <= high for low, edge, high in zip(least, shape, most, strict=True)
        )
        if not inside:
            raise EngineError(
                f"input {name!r} has shape {list(shape)}, and the engine takes {list(least)} to {list(most)}"
            )


def beside(file: Path) -> Path:
    """Where the description of an engine file lies."""
    return file.with_suffix(".json")


def _numbers(version: str) -> tuple[int, ...]:
    """Of "10.14.1.48.post1": (10, 14, 1, 48)."""
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def _text(capability: Capability) -> str:
    return f"{capability[0]}.{capability[1]}"
