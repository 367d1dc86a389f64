"""Colours of labels and of maps, the same on every page."""

Colour = tuple[int, int, int]

# The second is active material in most models; the rest are told apart by people of any colour vision (Okabe, Ito).
VOID: Colour = (28, 32, 42)
LABELS: tuple[Colour, ...] = (
    (86, 180, 233), (230, 159, 0), (0, 158, 115), (204, 121, 167), (240, 228, 66), (0, 114, 178), (213, 94, 0),
)  # fmt: skip

# Stops of viridis and of inferno, evenly spaced.
VIRIDIS = ("440154", "472d7b", "3b528b", "2c728e", "21918c", "28ae80", "5ec962", "addc30", "fde725")
INFERNO = ("000004", "210c4a", "57106e", "8a226a", "bc3754", "e45a31", "f98e09", "f9cb35", "fcffa4")


def label_colours(classes: int = 256) -> tuple[Colour, ...]:
    """Of each class; the first is void."""
    return (VOID, *(LABELS[n % len(LABELS)] for n in range(1, classes)))


def ramp(stops: tuple[str, ...], steps: int) -> tuple[Colour, ...]:
    """`steps` colours, at least 2, from the first of the stops to the last, evenly spaced between them."""
    known = [tuple(int(stop[at : at + 2], 16) for at in (0, 2, 4)) for stop in stops]
    found: list[Colour] = []
    for n in range(steps):
        at = n / (steps - 1) * (len(known) - 1)
        low = min(int(at), len(known) - 2)
        red, green, blue = (round(a + (b - a) * (at - low)) for a, b in zip(known[low], known[low + 1], strict=True))
        found.append((red, green, blue))
    return tuple(found)
