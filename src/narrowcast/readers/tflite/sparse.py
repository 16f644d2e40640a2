"""Weights that are stored sparse: the dense array again.

Source: `SparsityParameters` in schema.fbs (the TACO format): axes in an order of traversal, each dense, or compressed
as in CSR; blocks as further axes at the end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from narrowcast.model import Array
from narrowcast.schemas.flatbuffer import Table, damaged

if TYPE_CHECKING:
    from narrowcast.readers.tflite.file import Tensor

__all__ = ["densify"]

SPARSEST = 1000
"""Elements for each one that is stored, in arrays of more than `SMALL`."""
SMALL = 1 << 22
MOST_LEVELS = 12
"""Axes and blocks."""


def densify(tensor: Tensor) -> Array:
    """The dense array of a sparse constant, zeros in the places that are left out.

    Raises:
        ModelFileError: its parameters contradict one another.
    """
    table, content = tensor.sparsity, tensor.content
    assert table is not None
    assert content is not None
    if content.size % tensor.dtype.itemsize:
        raise damaged(f"its {content.size} bytes are no whole number of {tensor.type}")
    values = content.view(tensor.dtype.newbyteorder("<"))
    order = [int(axis) for axis in _ints(table["traversal_order"])]
    blocks = [int(axis) for axis in _ints(table["block_map"])]
    rank, levels = len(tensor.shape), table["dim_metadata"] or []
    if np.prod(tensor.shape, dtype=np.float64) > max(SPARSEST * values.size, SMALL):
        raise damaged(f"its {values.size} values are too few for the shape {list(tensor.shape)}")
    if len(levels) > MOST_LEVELS:
        raise damaged(f"its sparse weights are stored in {len(levels)} levels")
    if sorted(order) != list(range(len(levels))) or len(levels) != rank + len(blocks):
        raise damaged("its sparse weights are traversed in no order of their axes")
    if any(not 0 <= axis < rank for axis in blocks) or len(set(blocks)) != len(blocks):
        raise damaged("its sparse weights have blocks along axes that they do not have")
    # Each level turns the number of its parent into the numbers of its entries, and tells their coordinates.
    coordinates: dict[int, Array] = {}
    sizes: dict[int, int] = {}
    parents = 1
    for axis, level in zip(order, levels, strict=True):
        counts, places, sizes[axis] = _level(level, parents, limit=values.size)
        coordinates = {key: np.repeat(value, counts) for key, value in coordinates.items()}
        coordinates[axis] = places
        parents = places.size
    if parents != values.size:
        raise damaged(f"its sparse weights have {values.size} values for {parents} places")
    spot = []
    for axis in range(rank):
        place = coordinates[axis]
        if axis in blocks:
            block = rank + blocks.index(axis)
            if not sizes[block]:
                raise damaged("a block of its sparse weights has no size")
            place = place * sizes[block] + coordinates[block]
        if place.size and place.max() >= tensor.shape[axis]:
            raise damaged(f"its sparse weights reach {int(place.max())} along axis {axis} of {list(tensor.shape)}")
        spot.append(place)
    dense = np.zeros(tensor.shape, tensor.dtype)
    dense[tuple(spot)] = values
    return dense


def _ints(found: Array | None) -> Array:
    return np.empty(0, np.int32) if found is None else found


def _level(level: Table, parents: int, limit: int) -> tuple[Array | int, Array, int]:
    """How many entries each parent has, the coordinate of each entry, and the axis' size (0 where it is not told)."""
    if level.name_of("format") == "DENSE":
        size = level["dense_size"]
        if size < 0 or parents * size > max(limit, 1):
            raise damaged(f"a dense axis of {size} under {parents} entries has more places than values")
        return size, np.tile(np.arange(size), parents), size
    segments, indices = (_values(level[name]) for name in ("array_segments", "array_indices"))
    if segments.size != parents + 1 or segments[0] != 0 or segments[-1] != indices.size:
        raise damaged("the segments of its sparse weights do not fit their indices")
    counts = np.diff(segments)
    if (counts < 0).any() or (indices < 0).any():
        raise damaged("the segments of its sparse weights go backwards")
    return counts, indices, 0


def _values(table: Table | None) -> Array:
    found = None if table is None else table["values"]
    return np.empty(0, np.int64) if found is None else found.astype(np.int64)
