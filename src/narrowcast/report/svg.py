"""Just enough SVG and HTML: elements whose attributes and texts are escaped, and axes with round ticks."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from narrowcast.report.text import printable

__all__ = ["Markup", "Scale", "element", "escape", "figure", "linear", "logarithmic", "text_width", "tooltip"]


class Markup(str):
    """Text that is markup already; anything else is escaped by `element`."""

    __slots__ = ()


def element(tag: str, *children: object, **attributes: object) -> Markup:
    """An element with its children, all but `Markup` escaped; attributes that are None are left out.

    `_` in an attribute's name is written as `-`, and a trailing one is dropped: `class_`, `font_size`.
    """
    written = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{_attribute(value)}"'
        for name, value in attributes.items()
        if value is not None
    )
    inside = "".join(child if isinstance(child, Markup) else escape(child) for child in children)
    return Markup(f"<{tag}{written}>{inside}</{tag}>")


def escape(value: object) -> Markup:
    """Any text made harmless inside an element or an attribute."""
    return Markup(html.escape(printable(value), quote=True))


def _attribute(value: object) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else escape(value)


def tooltip(*lines: str) -> Markup:
    """What a pointer that rests on the parent element is shown, and what a screen reader reads."""
    return Markup("<title>" + "&#10;".join(escape(line) for line in lines) + "</title>")


def text_width(text: str, size: float) -> float:
    """A generous estimate of a text's width in the page's sans-serif face, in the unit of `size`."""
    return sum(0.34 if char in " .,:;il|'±" else 0.85 if char in "mwMW★" else 0.6 for char in text) * size


@dataclass(frozen=True, slots=True)
class Scale:
    """A map from values to positions, and the ticks along it."""

    position: Callable[[float], float]
    ticks: tuple[float, ...]


def linear(low: float, high: float, start: float, end: float, *, count: int = 5) -> Scale:
    """Maps low..high, widened to round ticks, linearly to start..end."""
    step = _round_step((high - low) / count)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    bottom, top = first * step, last * step
    ticks = tuple(round(index * step, 12) for index in range(first, last + 1))
    return Scale(lambda value: start + (value - bottom) / (top - bottom) * (end - start), ticks)


def logarithmic(low: float, high: float, start: float, end: float) -> Scale:
    """Maps low..high, both positive and widened to 1, 2 or 5 times a power of ten, by its logarithm to start..end."""
    marks = [digit * 10.0**power for power in range(-9, 10) for digit in (1, 2, 5)]
    bottom = max((mark for mark in marks if mark <= low), default=marks[0])
    top = min((mark for mark in marks if mark >= high), default=marks[-1])
    span = math.log(top / bottom)
    ticks = tuple(mark for mark in marks if bottom <= mark <= top)
    return Scale(lambda value: start + math.log(value / bottom) / span * (end - start), ticks)


def _round_step(raw: float) -> float:
    """The smallest of 1, 2, 2.5 and 5 times a power of ten that is not below `raw`."""
    power = 10.0 ** math.floor(math.log10(raw))
    return next(step * power for step in (1.0, 2.0, 2.5, 5.0, 10.0) if step * power >= raw * (1 - 1e-9))


def figure(title: str, subtitle: str, drawing: Markup, legend: Iterable[Markup] = ()) -> Markup:
    """A drawing under its title, the subtitle saying what better is."""
    caption = element("figcaption", element("h3", title), element("p", element("span", subtitle), *legend))
    return element("figure", caption, drawing)
