"""Horizontal bar charts: one group of bars for each file, every bar with its value written at its end."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from narrowcast.report.svg import Markup, element, text_width, tooltip

__all__ = ["Bar", "Group", "chart"]

WIDTH = 400.0
FONT = 12.0
LABELS = 128.0
"""Room for the labels, more where one is longer."""
GROUP_HEIGHT = 42.0
GROUP_GAP = 8.0
CUT_AT = 4.0
"""A bar longer than this many times the median is cut, so that one very slow file does not flatten all the others."""


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar.

    Attributes:
        value: its length in the chart's unit.
        text: the value as it is written.
        hint: lines of the tooltip.
        light: drawn lighter, as the first of two series.
        whisker: low and high end of the spread around the value.
    """

    value: float
    text: str
    hint: tuple[str, ...]
    light: bool = False
    whisker: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """The bars of one file.

    Attributes:
        hue: the file's colour class.
        starred: whether it is the recommended one.
        absent: what stands in place of bars where there are none.
    """

    label: str
    hue: str
    bars: tuple[Bar, ...]
    starred: bool = False
    absent: str = "not measured"


def chart(name: str, groups: Sequence[Group], *, limit: float | None = None, mark: float | None = None) -> Markup:
    """Draws the groups from top to bottom.

    Args:
        name: what the chart shows, for screen readers.
        groups: one for each file; those without bars say why.
        limit: the length of a full bar, where the unit has one (1 for fractions).
        mark: where a dashed vertical line stands (the accuracy budget).
    """
    values = sorted(bar.value for group in groups for bar in group.bars)
    texts = [text_width(bar.text, FONT) for group in groups for bar in group.bars]
    labels = [text_width(_shown(group), FONT) for group in groups]
    left = max(LABELS, max(labels, default=0.0) + 12)
    room = WIDTH - left - max(texts, default=0.0) - 10
    full = limit or _full(values)
    height = len(groups) * (GROUP_HEIGHT + GROUP_GAP) + 4
    drawn = [
        _group(group, (left, index * (GROUP_HEIGHT + GROUP_GAP) + 4), full, room) for index, group in enumerate(groups)
    ]
    axis = element("line", class_="axis", x1=left, x2=left, y1=0.0, y2=height)
    lines = [axis]
    if mark is not None and 0 < mark <= full:
        x = left + mark / full * room
        lines.append(element("line", class_="budget", x1=x, x2=x, y1=0.0, y2=height))
    return element(
        "svg", *drawn, *lines, viewBox=f"0 0 {WIDTH:g} {height:g}", role="img", aria_label=name, class_="bars"
    )


def _full(values: Sequence[float]) -> float:
    """The value of a bar of full length: the largest that is not out of all proportion."""
    if not values or values[-1] <= 0:
        return 1.0
    bound = CUT_AT * values[len(values) // 2]
    return values[-1] if values[-1] <= bound else max(value for value in values if value <= bound) * 1.25


def _shown(group: Group) -> str:
    return f"{group.label} ★" if group.starred else group.label


def _group(group: Group, place: tuple[float, float], full: float, room: float) -> Markup:
    """The label and the bars of a file, where `place` is the left end of its bars and its top."""
    left, top = place
    middle = top + GROUP_HEIGHT / 2
    label = element(
        "text",
        _shown(group),
        x=left - 8,
        y=middle,
        class_="label starred" if group.starred else "label",
    )
    if not group.bars:
        return element("g", label, element("text", group.absent, x=left + 8, y=middle, class_="value muted"))
    thickness = min(20.0, GROUP_HEIGHT / len(group.bars) - 2)
    first = middle - len(group.bars) * (thickness + 2) / 2 + 1
    drawn = [
        _bar(bar, (left, first + index * (thickness + 2)), thickness, full, room, f"{group.label}")
        for index, bar in enumerate(group.bars)
    ]
    return element("g", label, *drawn, class_=group.hue)


def _bar(bar: Bar, place: tuple[float, float], thickness: float, full: float, room: float, label: str) -> Markup:
    left, top = place
    cut = bar.value > full * (1 + 1e-9)
    length = room if cut else max(bar.value / full * room, 1.0)
    shape = "bar light" if bar.light else "bar"
    parts = [
        element("rect", x=left, y=top, width=length, height=thickness, rx=2, class_=shape),
    ]
    end, middle = left + length, top + thickness / 2
    if cut:
        parts.append(_tear(left + length * 0.86, top, thickness))
    elif bar.whisker is not None:
        low, high = (left + min(value / full, 1.0) * room for value in bar.whisker)
        parts.append(element("line", x1=low, x2=high, y1=middle, y2=middle, class_="whisker"))
        end = max(end, high)
    parts.append(element("text", bar.text, x=end + 6, y=middle, class_="value"))
    return element("g", tooltip(label, *bar.hint), *parts, class_="datum")


def _tear(x: float, top: float, thickness: float) -> Markup:
    """Two slanted strokes through a bar that is longer than the chart."""
    slant = math.tan(math.radians(20)) * (thickness + 4) / 2
    path = "".join(
        f"M{x + shift - slant:.1f} {top + thickness + 2:.1f}L{x + shift + slant:.1f} {top - 2:.1f}" for shift in (0, 6)
    )
    return element("path", d=path, class_="tear")
