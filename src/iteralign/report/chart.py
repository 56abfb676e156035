"""Curves with interval bands, as inline SVG without scripts or styles of its own (the page's stylesheet colours it)."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

WIDTH, HEIGHT = 440, 260
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 14, 34
MOST_POINTS = 240
MOST_MARKS = 40
"""With more points than this the band alone shows the intervals; a point is seen where the pointer is."""


@dataclass(frozen=True)
class Point:
    """A measurement."""

    round: int
    """-1 for the base model."""
    value: float
    low: float
    high: float
    text: str
    """What stands in the tooltip."""
    thrown_away: bool = False
    """Its weights were not kept; it is drawn apart from the line."""


@dataclass(frozen=True)
class CurveLine:
    """The measurements of a run."""

    name: str
    points: list[Point]
    run: int = 0
    """Which of the runs on the page, by which it has its colour."""


@dataclass(frozen=True)
class Mark:
    """A round at which something happened."""

    round: int
    text: str


@dataclass(frozen=True)
class Curve:
    """What is drawn in one picture: of one run a line, of several a line each."""

    title: str
    caption: str
    lines: list[CurveLine]
    percent: bool
    """Values are shares; otherwise plain numbers."""
    marks: list[Mark]

    @property
    def svg(self) -> Markup:
        """The picture."""
        return draw(self)


@dataclass(frozen=True)
class Bar:
    """A share with its interval, drawn as a bar."""

    value: float
    low: float
    high: float

    @property
    def svg(self) -> Markup:
        """The bar, with a whisker for the interval. Its numbers stand beside it, so it is hidden from readers of text."""
        low, high = 100 * self.low, 100 * self.high
        return Markup(
            '<svg class="share" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">'
            f'<rect width="{100 * self.value:.1f}" height="8"/>'
            f'<line class="whisker" x1="{low:.1f}" x2="{high:.1f}" y1="4" y2="4"/></svg>'
        )


def draw(curve: Curve) -> Markup:
    """Lines through the values with their bands, on axes that all of them fit."""
    lines = [thinned(line.points) for line in curve.lines]
    every = [point for points in lines for point in points]
    bottom, top = (0.0, _nice(max(point.high for point in every))) if curve.percent else _around(every)
    first, last = min(point.round for point in every), max(point.round for point in every)

    def x(number: int) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (number - first) / max(1, last - first)

    def y(value: float) -> float:
        share = (min(top, max(bottom, value)) - bottom) / (top - bottom)
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - share)

    def parts() -> Iterator[str]:
        for value in _ticks(bottom, top):
            yield _grid(y(value), _tick(value, curve.percent))
        for mark in curve.marks:
            if first <= mark.round <= last:
                yield _adoption(x(mark.round), mark.text)
        for line, points in zip(curve.lines, lines, strict=True):
            kept = [point for point in points if not point.thrown_away]
            upper = [f"{x(point.round):.1f},{y(point.high):.1f}" for point in kept]
            lower = [f"{x(point.round):.1f},{y(point.low):.1f}" for point in reversed(kept)]
            middle = [f"{x(point.round):.1f},{y(point.value):.1f}" for point in kept]
            yield f'<g class="run{line.run}"><polygon class="band" points="{" ".join([*upper, *lower])}"/>'
            yield f'<polyline class="line" points="{" ".join(middle)}"/>'
            yield from (_mark(x(point.round), y(point.low), y(point.value), y(point.high), point) for point in points)
            yield "</g>"
        numbers = sorted({point.round for point in every})
        xs = [x(number) for number in numbers]
        yield from (_label(xs[index], numbers[index]) for index in _labelled(xs))

    box = f'viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(_in_words(curve))}"'
    many = " many" if len(every) > MOST_MARKS else ""
    return Markup(f'<svg class="curve{many}" {box}><title>{escape(curve.title)}</title>{"".join(parts())}</svg>')


def _in_words(curve: Curve) -> str:
    """What a screen reader says of the picture."""
    ends = [f"{line.name} from {line.points[0].text} to {line.points[-1].text}" for line in curve.lines]
    return f"{curve.title}: {'; '.join(ends)}"


def thinned(points: Sequence[Point]) -> list[Point]:
    """At most MOST_POINTS, evenly, the first and last among them."""
    if len(points) <= MOST_POINTS:
        return list(points)
    step = (len(points) - 1) / (MOST_POINTS - 1)
    return [points[round(index * step)] for index in range(MOST_POINTS)]


def _mark(x: float, low: float, middle: float, high: float, point: Point) -> str:
    name = "point away" if point.thrown_away else "point"
    bar = f'<line class="bar" x1="{x:.1f}" x2="{x:.1f}" y1="{low:.1f}" y2="{high:.1f}"/>'
    return (
        f'<g class="{name}"><title>{escape(point.text)}</title>{bar}<circle cx="{x:.1f}" cy="{middle:.1f}" r="4"/></g>'
    )


def _grid(y: float, text: str) -> str:
    return (
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text class="y" x="{LEFT - 6}" y="{y + 4:.1f}">{text}</text>'
    )


def _adoption(x: float, text: str) -> str:
    """A rule through the picture with a mark at its foot."""
    y = HEIGHT - BOTTOM
    return (
        f'<g class="adopted"><title>{escape(text)}</title><line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{y}"/>'
        f'<path d="M{x:.1f} {y - 6} l5 6 h-10 z"/></g>'
    )


def _label(x: float, number: int) -> str:
    return f'<text class="x" x="{x:.1f}" y="{HEIGHT - 12}">{"base" if number < 0 else number}</text>'


def _labelled(xs: Sequence[float]) -> list[int]:
    """Which points get a label: as many as there is room for, the first and the last among them."""
    labelled = [0]
    for index in range(1, len(xs) - 1):
        if xs[index] - xs[labelled[-1]] > 34 and xs[-1] - xs[index] > 34:
            labelled.append(index)
    return [*labelled, len(xs) - 1] if len(xs) > 1 else labelled


def _nice(value: float) -> float:
    return next((top for top in (0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8) if value <= top), 1.0)


def _around(points: Sequence[Point]) -> tuple[float, float]:
    """Bounds about the values, four round steps apart."""
    low, high = min(point.low for point in points), max(point.high for point in points)
    rough = max((high - low) / 3, 1e-3 * abs(high), 1e-9)
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= rough)
    bottom = math.floor(low / step) * step
    return bottom, bottom + 4 * step


def _ticks(bottom: float, top: float) -> list[float]:
    return [bottom + (top - bottom) * step / 4 for step in range(5)]


def _tick(value: float, percent: bool) -> str:
    return f"{100 * value:.3g}%" if percent else f"{value:.4g}"
