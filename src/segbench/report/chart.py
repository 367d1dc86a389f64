"""Figures as SVG inside the page: their colours are the page's, in light, dark and print."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from segbench.metrics.reliability import Float64
from segbench.report.markup import Markup, element, join, number

Values = Sequence[float] | Float64
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 10, 36
TICKS = 5
LARGEST = 1e9
SERIES = 6  # colours in page.css; more series begin again, with another dash


def drawable(value: float) -> bool:
    """Whether a value can be a place in a figure: defined, and no larger than any score is."""
    return math.isfinite(value) and abs(value) < LARGEST


@dataclass(frozen=True)
class Axis:
    """One axis: its ends, and what it says."""

    low: float
    high: float
    label: str

    def ticks(self) -> list[float]:
        """Round numbers within the ends."""
        step = self._step
        first = math.ceil(self.low / step - 1e-9)
        return [n * step for n in range(first, math.floor(self.high / step + 1e-9) + 1)]

    @property
    def digits(self) -> int:
        """After the point, as many as the ticks need."""
        return max(0, -math.floor(math.log10(self._step) + 1e-9))

    @property
    def _step(self) -> float:
        span = self.high - self.low
        power = 10.0 ** math.floor(math.log10(span / TICKS))
        return next(power * n for n in (1, 2, 5, 10) if span / (power * n) <= TICKS)


def axis(values: Sequence[float], label: str, *, zero: bool = False) -> Axis:
    """An axis that holds all finite `values` with some room; 0 to 1 where there are none."""
    there = [value for value in values if drawable(value)] + ([0.0] if zero else [])
    if not there:
        return Axis(0.0, 1.0, label)
    low, high = min(there), max(there)
    room = 0.06 * (high - low)
    if room < 1e-6 * max(1.0, abs(low), abs(high)):  # one value: an axis has to have a length
        room = 0.05 * max(1.0, abs(low), abs(high))
    low, high = (0.0 if zero and low == 0 else low - room), high + room
    return Axis(low, high, label)


@dataclass(frozen=True)
class Chart:
    """A figure with two axes; marks are drawn in their units."""

    x: Axis
    y: Axis
    width: int = 380
    height: int = 300

    def px(self, value: float) -> float:
        """From a value to the pixel across."""
        share = (value - self.x.low) / (self.x.high - self.x.low)
        return LEFT + share * (self.width - LEFT - RIGHT)

    def py(self, value: float) -> float:
        """From a value to the pixel down."""
        share = (value - self.y.low) / (self.y.high - self.y.low)
        return self.height - BOTTOM - share * (self.height - TOP - BOTTOM)

    def curve(self, xs: Values, ys: Values, class_: str) -> Markup:
        """A line through the points; undefined ones break it."""
        steps, down = [], False
        for x, y in zip(xs, ys, strict=False):
            there = drawable(x) and drawable(y)
            if there:
                steps.append(f"{'L' if down else 'M'}{self.px(x):.1f} {self.py(y):.1f}")
            down = there
        return element("path", d=" ".join(steps), class_=f"line {class_}") if steps else Markup()

    def dots(self, xs: Values, ys: Values, class_: str, titles: Sequence[str] = ()) -> Markup:
        """A round mark a point; a title is shown where a mouse rests on it."""
        return join(self._marks(xs, ys, class_, titles, hollow=False))

    def diamonds(self, xs: Values, ys: Values, class_: str, titles: Sequence[str] = ()) -> Markup:
        """A hollow diamond a point."""
        return join(self._marks(xs, ys, class_, titles, hollow=True))

    def bars(self, xs: Values, ys: Values, width: float, class_: str) -> Markup:
        """Bars from the bottom, `width` wide in units of x; `ys` in units of y above its low end."""
        made = []
        for x, y in zip(xs, ys, strict=False):
            if drawable(y) and y > self.y.low:
                top = self.py(y)
                wide = self.px(x + width / 2) - self.px(x - width / 2)
                made.append(
                    element(
                        "rect", x=self.px(x - width / 2), y=top, width=max(0.5, wide - 1),
                        height=self.height - BOTTOM - top, class_=class_,
                    )
                )  # fmt: skip
        return join(made)

    def label(self, x: float, y: float, text: str, class_: str = "", dx: int = 5, dy: int = 3) -> Markup:
        """Text beside a point; to its left where there is no room to its right."""
        at = self.px(x)
        left = at + 6 * len(text) > self.width - RIGHT
        anchor = "end" if left else "start"
        return element(
            "text", text, x=at - dx if left else at + dx, y=self.py(y) + dy, class_=f"name {class_}", text_anchor=anchor
        )

    def draw(self, title: str, *marks: Markup) -> Markup:
        """The whole figure; `title` says in words what it shows."""
        inside = [element("title", title), *self._axes(), *marks]
        return element(
            "svg", *inside, viewBox=f"0 0 {self.width} {self.height}", role="img", aria_label=title, class_="chart",
            width=self.width, height=self.height,
        )  # fmt: skip

    def _axes(self) -> Iterator[Markup]:
        bottom, right = self.height - BOTTOM, self.width - RIGHT
        for tick in self.x.ticks():
            at = self.px(tick)
            yield element("line", x1=at, x2=at, y1=TOP, y2=bottom, class_="grid")
            yield element("text", number(tick, self.x.digits), x=at, y=bottom + 14, text_anchor="middle")
        for tick in self.y.ticks():
            at = self.py(tick)
            yield element("line", x1=LEFT, x2=right, y1=at, y2=at, class_="grid")
            yield element("text", number(tick, self.y.digits), x=LEFT - 5, y=at + 3.5, text_anchor="end")
        yield element(
            "text", self.x.label, x=(LEFT + right) / 2, y=self.height - 4, text_anchor="middle", class_="axis"
        )
        middle = (TOP + bottom) / 2
        turned = f"rotate(-90 11 {middle:g})"
        yield element("text", self.y.label, x=11, y=middle, text_anchor="middle", class_="axis", transform=turned)

    def _marks(self, xs: Values, ys: Values, class_: str, titles: Sequence[str], *, hollow: bool) -> Iterator[Markup]:
        for n, (x, y) in enumerate(zip(xs, ys, strict=False)):
            if not (drawable(x) and drawable(y)):
                continue
            said = element("title", titles[n]) if n < len(titles) else None
            a, b = self.px(x), self.py(y)
            if hollow:
                shape = f"M{a:.1f} {b - 4:.1f} l4 4 l-4 4 l-4 -4 Z"
                yield element("path", said, d=shape, class_=f"diamond {class_}")
            else:
                yield element("circle", said, cx=a, cy=b, r=3.5, class_=f"dot {class_}")


def series(n: int) -> str:
    """Class of the n-th series."""
    return f"s{n % SERIES}" + (" dashed" if n >= SERIES else "")


def figure(drawing: Markup, caption: str | Markup) -> Markup:
    """A drawing with words below."""
    return element("figure", drawing, element("figcaption", caption))


def legend(entries: Sequence[tuple[str, str]], shape: str = "line") -> Markup:
    """What marks mean: (class, words) each; `shape` is "line" or "dot", and what is printed is a diamond."""
    shapes = {
        "line": "M1 6 L21 6",
        "dot": "M7.5 6 a3.5 3.5 0 1 0 7 0 a3.5 3.5 0 1 0 -7 0",
        "diamond": "M11 2 l4 4 -4 4 -4 -4 Z",
    }
    made = []
    for class_, words in entries:
        kind = "diamond" if class_ == "printed" else shape
        key = element("path", d=shapes[kind], class_=f"{kind} {class_}")
        made.append(element("li", element("svg", key, width=22, height=12, aria_hidden="true"), words))
    return element("ul", *made, class_="legend")


def sparkline(values: Sequence[float], low: float, high: float, mean: float, said: str) -> Markup:
    """Where values lie between two ends: a thin mark each, a thick one for the mean. `said` says it in words."""
    width, height = 110, 18
    span = (high - low) or 1.0

    def at(value: float) -> float:
        return 2 + (value - low) / span * (width - 4)

    marks = [element("line", x1=1, x2=width - 1, y1=height / 2, y2=height / 2, class_="grid")]
    if len(values) > 200:  # a picture of so many marks is a bar: quantiles say as much
        ordered = sorted(values)
        values = [ordered[round(n / 199 * (len(ordered) - 1))] for n in range(200)]
    marks += [element("line", x1=at(v), x2=at(v), y1=4, y2=height - 4, class_="tick") for v in values]
    if drawable(mean):
        marks.append(element("line", x1=at(mean), x2=at(mean), y1=1, y2=height - 1, class_="mean"))
    return element(
        "svg", element("title", said), *marks, viewBox=f"0 0 {width} {height}", role="img", aria_label=said,
        width=width, height=height, class_="spark",
    )  # fmt: skip
