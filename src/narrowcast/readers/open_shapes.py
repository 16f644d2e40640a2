"""The shapes of inputs once the user has said what a file leaves open: one rule and one wording for every reader."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from narrowcast.errors import UsageError

__all__ = ["BATCH", "OPEN", "Dims", "check_inputs", "fill", "left_open", "shape_text"]

BATCH = "batch"
"""Name of a first dimension that stays open."""

OPEN = "open:"
"""How the names of other dimensions begin that the user leaves open."""

Dims: TypeAlias = Sequence[int | str | None]
"""Sizes, symbols of the file, and None for a size of which nothing is said."""


LARGEST_INPUT = 2**27
"""Elements of one input: what a network makes of it is many times as large, and all must fit into memory."""


def fill(shapes: Mapping[str, Dims | None], sizes: Sequence[int]) -> tuple[dict[str, Dims | None], dict[str, int]]:
    """Gives the dimensions that are open, the batch excepted, the sizes that the user named for them.

    Args:
        shapes: by input name; a symbol has one size wherever it stands, and each None is a dimension of its own.
        sizes: one for each open dimension in their order, or one for all; none leaves everything as it is.

    Returns:
        The shapes, and the size of each symbol.

    Raises:
        UsageError: there are more or fewer open dimensions than sizes, or none at all.
    """
    places: dict[object, int] = {}
    for name, dims in shapes.items():
        for axis, dim in enumerate(dims or ()):
            if not _is_settled(axis, dim):
                places.setdefault(dim or (name, axis), len(places))
    if not sizes:
        return dict(shapes), {}
    if len(sizes) not in (1, len(places)) or not places:
        raise UsageError(
            f"{'x'.join(map(str, sizes))} cannot be the sizes of {len(places)} open dimensions",
            hint="--shapes takes one size for all open dimensions, or as 320x480 one for each",
        )
    known = {place: sizes[number % len(sizes)] for place, number in places.items()}
    filled: dict[str, Dims | None] = {
        name: dims and [known.get(dim or (name, axis), dim) for axis, dim in enumerate(dims)]
        for name, dims in shapes.items()
    }
    return filled, {place: size for place, size in known.items() if isinstance(place, str)}


def _is_settled(axis: int, dim: int | str | None) -> bool:
    """Whether a dimension has a size, or stays open by intent."""
    return isinstance(dim, int) or (dim is not None and (dim.startswith(OPEN) or (axis == 0 and dim == BATCH)))


def left_open(shapes: Mapping[str, Dims | None]) -> tuple[dict[str, Dims | None], dict[str, str]]:
    """As `fill`, but open dimensions get names that say that they are open by intent."""
    named: dict[str, Dims | None] = {
        name: dims
        and [dim if _is_settled(axis, dim) else f"{OPEN}{dim or f'{name}.{axis}'}" for axis, dim in enumerate(dims)]
        for name, dims in shapes.items()
    }
    symbols = {dim for dims in shapes.values() for dim in dims or () if isinstance(dim, str)}
    return named, {dim: f"{OPEN}{dim}" for dim in symbols if not _is_settled(0, dim)}


def check_inputs(shapes: Mapping[str, Dims | None], unknown: str = "1,3,224,224") -> None:
    """Nothing may be open but the batch and what was left open by intent, and nothing may be too large.

    Args:
        shapes: by input name, None where the file gives none; the dimension that stays open is `BATCH`.
        unknown: an example of a shape, for an input of which nothing is known.

    Raises:
        UsageError: something is open, or an input would hold more than `LARGEST_INPUT` numbers.
    """
    open_inputs = {
        name: dims
        for name, dims in shapes.items()
        if dims is None or not all(_is_settled(axis, dim) for axis, dim in enumerate(dims))
    }
    if open_inputs:
        listed = "; ".join(f"{name!r} is {shape_text(dims)}" for name, dims in open_inputs.items())
        advice = " ".join(f"--input {name}:{_suggestion(dims, unknown)}" for name, dims in open_inputs.items())
        raise UsageError(
            f"these inputs have open dimensions: {listed}", hint=f"give their shapes, for example {advice}"
        )
    for name, dims in shapes.items():
        count = math.prod(dim for dim in dims or () if isinstance(dim, int))
        if count > LARGEST_INPUT:
            raise UsageError(
                f"the input {name!r} would hold {count:,} numbers, more than any device takes",
                hint=f"give it a smaller shape: --input {name}:...",
            )


def shape_text(dims: Dims | None) -> str:
    """A shape as errors show it."""
    return "of unknown rank" if dims is None else "x".join("?" if dim is None else str(dim) for dim in dims) or "scalar"


def _suggestion(dims: Dims | None, unknown: str) -> str:
    """A shape that might fit: 640 for the sides of an image, 128 for a length."""
    if dims is None:
        return unknown
    side = 640 if len(dims) == 4 else 128
    return ",".join(str(dim) if isinstance(dim, int) else "1" if dim == BATCH else str(side) for dim in dims)
