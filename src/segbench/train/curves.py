"""Learning curves as a picture."""

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from segbench.train.checkpoint import Record

WINDOW = 50  # steps that the thick line averages


PHANTOMS = "phantoms (another simulator)"


def draw(history: list[Record], path: Path, title: str, on: str = PHANTOMS) -> None:
    """Loss and learning rate above, validation scores below; `on` says what was validated on."""
    figure = Figure(figsize=(7, 5.5), layout="constrained")
    FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 1, sharex=True)
    step = np.array([r["step"] for r in history], dtype=float)
    loss = np.array([r["loss"] for r in history], dtype=float)
    above.plot(step, loss, color="0.8", linewidth=0.6)
    if len(loss) > WINDOW:
        smooth = np.convolve(loss, np.ones(WINDOW) / WINDOW, mode="valid")
        above.plot(step[WINDOW - 1 :], smooth, color="C0", label=f"mean of {WINDOW} steps")
        above.legend(loc="upper right")
    above.set(ylabel="training loss", title=title)
    rate = above.twinx()
    rate.plot(step, [float(r["learning_rate"] or 0) for r in history], color="C3", linewidth=0.8, linestyle=":")
    rate.set_ylabel("learning rate (dotted)", color="C3")
    checked = [r for r in history if "validation_miou" in r]
    at = [float(r["step"] or 0) for r in checked]
    for key, colour in (("validation_accuracy", "C1"), ("validation_miou", "C2")):
        below.plot(at, [float(r[key] or 0) for r in checked], "o-", color=colour, label=key.replace("_", " "), ms=3)
    below.set(xlabel="step", ylabel=on)
    if checked:
        below.legend(loc="lower right")
    below.grid(alpha=0.3)
    figure.savefig(path, dpi=110)
