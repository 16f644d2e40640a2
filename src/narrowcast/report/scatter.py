"""Scatter charts: one labelled point for each file, labels placed where they cover nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from narrowcast.report.svg import Markup, Scale, element, linear, logarithmic, text_width, tooltip

__all__ = ["Point", "chart"]

WIDTH, HEIGHT = 500.0, 310.0
LEFT, RIGHT, TOP, BOTTOM = 58.0, 20.0, 14.0, 46.0
FONT = 12.0
RADIUS = 7.0
LOG_FROM = 12.0
"""Values whose largest is this many times the smallest stand on a logarithmic axis."""


@dataclass(frozen=True, slots=True)
class Point:
    """A file at (x, y), in the units of the axes; a source is drawn hollow, the recommended file ringed."""

    x: float
    y: float
    label: str
    hue: str
    hint: tuple[str, ...]
    starred: bool = False
    hollow: bool = False


@dataclass(frozen=True, slots=True)
class _Box:
    left: float
    top: float
    right: float
    bottom: float

    def overlap(self, other: _Box) -> float:
        """The common area."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        return width * height if width > 0 and height > 0 else 0.0

    def outside(self, other: _Box) -> float:
        """How far it reaches out of `other`."""
        sides = (other.left - self.left, other.top - self.top, self.right - other.right, self.bottom - other.bottom)
        return sum(max(0.0, side) for side in sides)


_PLOT = _Box(LEFT, TOP, WIDTH - RIGHT, HEIGHT - BOTTOM)


def chart(
    name: str,
    points: Sequence[Point],
    *,
    x_title: str,
    y_title: str,
    floor: float | None = None,
    ceiling: float = math.inf,
) -> Markup:
    """Draws the points.

    Args:
        name: what the chart shows, for screen readers.
        points: at least one.
        x_title: of the horizontal axis, with its unit.
        y_title: of the vertical one.
        floor: below this y a file is out of the budget; drawn as a dashed line over a tinted ground.
        ceiling: no y can be above it.
    """
    xs = [point.x for point in points]
    ys = [point.y for point in points] + ([] if floor is None else [floor])
    low, high = min(xs), max(xs)
    if low > 0 and high / low > LOG_FROM:
        horizontal, x_title = logarithmic(low * 0.9, high * 1.1, _PLOT.left, _PLOT.right), f"{x_title}, logarithmic"
    else:
        horizontal = linear(0.0, high * 1.08 or 1.0, _PLOT.left, _PLOT.right)
    margin = (max(ys) - min(ys)) * 0.15 or max(abs(ys[0]) * 0.01, 0.5)
    vertical = linear(min(ys) - margin, min(max(ys) + margin, ceiling), _PLOT.bottom, _PLOT.top)
    parts = [*_grid(horizontal, vertical), *_titles(x_title, y_title)]
    if floor is not None:
        parts += _budget(vertical.position(floor))
    places = [(horizontal.position(point.x), vertical.position(point.y)) for point in points]
    parts += [_mark(point, place) for point, place in zip(points, places, strict=True)]
    parts += _labels(points, places)
    return element("svg", *parts, viewBox=f"0 0 {WIDTH:g} {HEIGHT:g}", role="img", aria_label=name, class_="scatter")


def _grid(horizontal: Scale, vertical: Scale) -> list[Markup]:
    parts = []
    for tick in horizontal.ticks:
        x = horizontal.position(tick)
        parts.append(element("line", x1=x, x2=x, y1=_PLOT.top, y2=_PLOT.bottom, class_="grid"))
        parts.append(element("text", f"{tick:g}", x=x, y=_PLOT.bottom + 16, class_="tick middle"))
    for tick in vertical.ticks:
        y = vertical.position(tick)
        parts.append(element("line", x1=_PLOT.left, x2=_PLOT.right, y1=y, y2=y, class_="grid"))
        parts.append(element("text", f"{tick:g}", x=_PLOT.left - 8, y=y, class_="tick end"))
    return parts


def _titles(x_title: str, y_title: str) -> list[Markup]:
    middle = (_PLOT.top + _PLOT.bottom) / 2
    return [
        element("text", x_title, x=(_PLOT.left + _PLOT.right) / 2, y=HEIGHT - 8, class_="title middle"),
        element("text", y_title, x=0, y=0, transform=f"translate(14 {middle:g}) rotate(-90)", class_="title middle"),
    ]


def _budget(y: float) -> list[Markup]:
    return [
        element(
            "rect", x=_PLOT.left, y=y, width=_PLOT.right - _PLOT.left, height=_PLOT.bottom - y, class_="out-of-budget"
        ),
        element("line", x1=_PLOT.left, x2=_PLOT.right, y1=y, y2=y, class_="budget"),
        element("text", "accuracy budget", x=_PLOT.right - 6, y=y + 11, class_="tick end"),
    ]


def _mark(point: Point, place: tuple[float, float]) -> Markup:
    x, y = place
    parts = [element("circle", cx=x, cy=y, r=RADIUS, class_="point hollow" if point.hollow else "point")]
    if point.starred:
        parts.insert(0, element("circle", cx=x, cy=y, r=RADIUS + 4.5, class_="ring"))
    return element("g", tooltip(point.label, *point.hint), *parts, class_=f"datum {point.hue}")


def _labels(points: Sequence[Point], places: Sequence[tuple[float, float]]) -> list[Markup]:
    """Labels beside their points; each takes the first of many places that covers least."""
    taken = [_Box(x - RADIUS - 3, y - RADIUS - 3, x + RADIUS + 3, y + RADIUS + 3) for x, y in places]
    drawn = []
    for point, (x, y) in zip(points, places, strict=True):
        text = f"{point.label} ★" if point.starred else point.label
        box = min(_candidates(x, y, text_width(text, FONT)), key=lambda candidate: _cost(candidate, taken))
        taken.append(box)
        style = "label starred" if point.starred else "label"
        drawn.append(
            element("text", text, x=(box.left + box.right) / 2, y=(box.top + box.bottom) / 2, class_=f"{style} middle")
        )
        if abs((box.top + box.bottom) / 2 - y) > FONT * 2:
            edge = box.bottom if box.bottom < y else box.top
            drawn.append(element("line", x1=x, y1=y, x2=(box.left + box.right) / 2, y2=edge, class_="leader"))
    return drawn


def _cost(candidate: _Box, taken: Sequence[_Box]) -> float:
    return sum(candidate.overlap(box) for box in taken) + 100 * candidate.outside(_PLOT)


def _candidates(x: float, y: float, width: float) -> list[_Box]:
    """Right, left, above, below; then the same further off."""
    half = FONT * 0.65
    boxes = []
    for far in (0.0, 22.0, 42.0, 62.0, 82.0, 102.0, 122.0):
        gap = RADIUS + 6
        for center_x, center_y in (
            (x + gap + width / 2, y + far),
            (x - gap - width / 2, y - far),
            (x, y - gap - half - far),
            (x, y + gap + half + far),
            (x + gap + width / 2, y - far - half),
            (x - gap - width / 2, y + far + half),
        ):
            boxes.append(_Box(center_x - width / 2, center_y - half, center_x + width / 2, center_y + half))
    return boxes
