"""Charts of what a network loses: ratios along its blocks, what the noise of each is made of, and histograms."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from narrowcast.evaluation.diagnosis.records import BlockLoss, Histogram
from narrowcast.report.losses import decibel_text
from narrowcast.report.svg import Markup, Scale, element, linear, tooltip
from narrowcast.report.text import percent

__all__ = ["PARTS", "along", "histogram", "parts_of", "split"]

WIDTH, LEFT, RIGHT = 1160.0, 56.0, 14.0
CURVE, STACK, GAP, FOOT = 250.0, 84.0, 34.0, 24.0
CEILING, FLOOR = 60.0, -10.0
"""dB between which ratios are drawn; those beyond stand at the edge."""

MOST_HINTS = 800
"""Blocks that each have a hint of their own under the pointer."""

PARTS: Mapping[str, str] = {"weights": "its weights", "rounding": "its own rounding", "above": "from above"}
"""What noise is made of, by the class of its colour."""


def parts_of(block: BlockLoss) -> dict[str, float]:
    """The shares of the parts in the noise of a block, which add up to 1, or to 0 where there is no noise."""
    ratios = {"weights": block.weights_db, "rounding": block.rounding_db, "above": block.above_db}
    powers = {name: 0.0 if ratio is None else _noise(ratio) for name, ratio in ratios.items()}
    total = sum(powers.values())
    return {name: power / total if total > 0 else 0.0 for name, power in powers.items()}


def _noise(ratio: float) -> float:
    """The noise of a signal of 1."""
    return 10 ** (-min(max(ratio, -100.0), 1000.0) / 10) if not math.isinf(ratio) else 0.0 if ratio > 0 else 1e10


def _own(block: BlockLoss) -> float:
    """The ratio of what the block itself adds."""
    noise = sum(_noise(ratio) for ratio in (block.weights_db, block.rounding_db) if ratio is not None)
    return -10 * math.log10(noise) if noise > 0 else math.inf


def along(blocks: Sequence[BlockLoss], worst: Sequence[int]) -> Markup:
    """The ratio of each block in order, over what its noise is made of.

    Args:
        blocks: at least one.
        worst: those that are numbered, the worst first.
    """
    ratios = [block.sqnr_db for block in blocks if block.sqnr_db is not None and math.isfinite(block.sqnr_db)]
    bottom = FLOOR if min([0.0, *ratios]) < -1 else 0.0
    vertical = linear(bottom, CEILING, CURVE, 12.0, count=round((CEILING - bottom) / 10))
    step = (WIDTH - LEFT - RIGHT) / len(blocks)
    places = [LEFT + (at + 0.5) * step for at in range(len(blocks))]
    top = CURVE + GAP
    parts = [
        *_levels(vertical),
        element("path", d=_line(places, map(_own, blocks), vertical), class_="curve own"),
        element("path", d=_line(places, (block.sqnr_db for block in blocks), vertical), class_="curve"),
        *_stacks(blocks, step, top),
        *_hints(blocks, step, top + STACK),
        *(_number(rank, places[at], _height(blocks[at].sqnr_db, vertical)) for rank, at in enumerate(worst, start=1)),
        element("text", "dB", x=LEFT - 8, y=CURVE + 14, class_="tick end"),
        element("text", "noise of", x=LEFT - 8, y=top + STACK / 2 - 7, class_="tick end"),
        element("text", "each", x=LEFT - 8, y=top + STACK / 2 + 7, class_="tick end"),
        element("text", "input", x=LEFT, y=top + STACK + 14, class_="tick"),
        element("text", "output", x=WIDTH - RIGHT, y=top + STACK + 14, class_="tick end"),
    ]
    box = f"0 0 {WIDTH:g} {top + STACK + FOOT:g}"
    return element("svg", *parts, viewBox=box, role="img", aria_label="Signal to noise along the network")


def _levels(vertical: Scale) -> Iterable[Markup]:
    for tick in vertical.ticks:
        y = vertical.position(tick)
        yield element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_="grid")
        yield element("text", f"{tick:g}", x=LEFT - 8, y=y, class_="tick end")


def _height(ratio: float | None, vertical: Scale) -> float:
    bottom, top = vertical.ticks[0], vertical.ticks[-1]
    return vertical.position(top if ratio is None else min(max(ratio, bottom), top))


def _line(places: Sequence[float], ratios: Iterable[float | None], vertical: Scale) -> str:
    points = (f"{x:.1f} {_height(ratio, vertical):.1f}" for x, ratio in zip(places, ratios, strict=True))
    return f"M{'L'.join(points)}"


def _stacks(blocks: Sequence[BlockLoss], step: float, top: float) -> Iterable[Markup]:
    """A column for each block, as one path for each part."""
    shares = [parts_of(block) for block in blocks]
    room = step * (0.82 if step > 3 else 1.0)
    heights = [top + STACK] * len(blocks)
    for name in ("above", "weights", "rounding"):
        drawn = []
        for at, share in enumerate(shares):
            if share[name] <= 0:
                continue
            x, height = LEFT + at * step + (step - room) / 2, share[name] * STACK
            drawn.append(f"M{x:.1f} {heights[at]:.1f}v{-height:.1f}h{room:.2f}v{height:.1f}z")
            heights[at] -= height
        yield element("path", d="".join(drawn), class_=f"part {name}")


def _hints(blocks: Sequence[BlockLoss], step: float, height: float) -> Iterable[Markup]:
    for at, block in enumerate(blocks[:MOST_HINTS]):
        shape = element("rect", x=LEFT + at * step, y=0.0, width=step, height=height, class_="hint")
        yield element("g", tooltip(*_told(block)), shape)


def _told(block: BlockLoss) -> Iterable[str]:
    yield f"{block.name} ({block.kind})"
    yield f"ratio {decibel_text(block.sqnr_db)} dB, {percent(block.share)} of the outputs' noise arises here"
    yield ", ".join(f"{PARTS[name]} {percent(share)}" for name, share in parts_of(block).items())


def _number(rank: int, x: float, y: float) -> Markup:
    circle = element("circle", cx=x, cy=y, r=9.0, class_="rank")
    return element("g", circle, element("text", str(rank), x=x, y=y, class_="middle rank"))


def split(block: BlockLoss) -> Markup:
    """What a block's noise is made of, as one bar."""
    drawn, x = [], 0.0
    for name, share in parts_of(block).items():
        bar = element("rect", x=x, y=0.0, width=share * 300, height=12.0, class_=f"part {name}")
        drawn.append(element("g", tooltip(f"{PARTS[name]}: {percent(share)}"), bar))
        x += share * 300
    told = ", ".join(f"{PARTS[name]} {percent(share)}" for name, share in parts_of(block).items())
    return element("svg", *drawn, viewBox="0 0 300 12", role="img", aria_label=told, preserveAspectRatio="none")


PLOT, BASE = (360.0, 150.0), 112.0


def histogram(name: str, counts: Histogram) -> Markup:
    """The values of a tensor before and after it is quantised, by logarithms of their numbers.

    Args:
        name: of the tensor, for screen readers.
        counts: how many fall into which bin.
    """
    width, _ = PLOT
    largest = math.log10(1 + max(*counts.before, *counts.after, 1))
    high = counts.low + counts.width * len(counts.before)
    scale = Scale(lambda value: 8 + (value - counts.low) / (high - counts.low) * (width - 16), ())
    ground = (scale.position(end) for end in counts.grid)
    left, right = (min(max(x, 8.0), width - 8) for x in ground)
    parts = [
        element("rect", x=left, y=4.0, width=max(right - left, 1.0), height=BASE - 4, class_="range"),
        element("path", d=_steps(counts, counts.before, scale, largest), class_="before"),
        element("path", d=_steps(counts, counts.after, scale, largest), class_="after"),
        element("line", x1=8.0, x2=width - 8, y1=BASE, y2=BASE, class_="axis"),
        element("path", d=f"M{left:.1f} {BASE + 5:g}v5H{right:.1f}v-5", class_="bracket"),
        *_ends(counts, scale),
    ]
    label = f"Histogram of {name} before and after quantisation"
    return element("svg", *parts, viewBox=f"0 0 {PLOT[0]:g} {PLOT[1]:g}", role="img", aria_label=label)


def _steps(counts: Histogram, numbers: Sequence[int], scale: Scale, largest: float) -> str:
    drawn = [f"M{scale.position(counts.low):.1f} {BASE:g}"]
    for at, number in enumerate(numbers):
        height = BASE - math.log10(1 + number) / largest * (BASE - 10)
        drawn.append(f"V{height:.1f}H{scale.position(counts.low + (at + 1) * counts.width):.1f}")
    return "".join((*drawn, f"V{BASE:g}"))


def _ends(counts: Histogram, scale: Scale) -> Iterable[Markup]:
    """The range of the integers, and zero where it is not too near to an end."""
    low, high = counts.grid
    yield element("text", f"{low:.3g}", x=max(scale.position(low), 8.0), y=BASE + 22, class_="tick")
    yield element("text", f"{high:.3g}", x=min(scale.position(high), PLOT[0] - 8), y=BASE + 22, class_="tick end")
    zero = scale.position(0.0)
    if 50 < zero < PLOT[0] - 50:
        yield element("text", "0", x=zero, y=BASE + 22, class_="tick middle")
