"""Integers that are known while a file is read: shapes, and what is made of them.

Old converters compute the target of a RESHAPE from the SHAPE of its input. Open dimensions are in these arrays by name,
so that they may be moved, but not computed with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from narrowcast.model import Array
from narrowcast.readers.tflite.ops.slicing import selection
from narrowcast.readers.tflite.registry import Site, knows

MOST = 1024
"""Elements; no list of sizes has more."""
_ARITHMETIC: dict[str, Callable[..., Any]] = {
    "ADD": np.add,
    "SUB": np.subtract,
    "MUL": np.multiply,
    "FLOOR_DIV": np.floor_divide,
    "MAXIMUM": np.maximum,
    "MINIMUM": np.minimum,
    "REDUCE_PROD": lambda array, _axes: np.prod(array),
    "SUM": lambda array, _axes: np.sum(array),
}
_MOVES: dict[str, Callable[[Site, Sequence[Array]], Array]] = {
    "PACK": lambda site, arrays: np.stack(arrays, site.option("axis")),
    "CONCATENATION": lambda site, arrays: np.concatenate(arrays, site.option("axis")),
    "STRIDED_SLICE": lambda site, arrays: arrays[0][selection(site)],
    "SLICE": lambda site, arrays: arrays[0][selection(site)],
    "GATHER": lambda site, arrays: np.take(arrays[0], arrays[1].astype(int), site.option("axis")),
    "RESHAPE": lambda site, arrays: arrays[0].reshape([int(dim) for dim in arrays[1]]),
    "SQUEEZE": lambda site, arrays: arrays[0].reshape(()),
    "EXPAND_DIMS": lambda site, arrays: np.expand_dims(arrays[0], int(arrays[1])),
    "CAST": lambda site, arrays: arrays[0],
}


@knows("SHAPE")
def shape(site: Site) -> Sequence[Array | None]:
    """The sizes of the input."""
    return [np.array(site.shape(0), object)]


@knows("RANK")
def rank(site: Site) -> Sequence[Array | None]:
    """How many axes the input has."""
    return [np.array(len(site.shape(0)), object)]


@knows(*_MOVES)
def moved(site: Site) -> Sequence[Array | None]:
    """Sizes in another order, joined or cut."""
    arrays = _arrays(site)
    return [] if arrays is None else [np.asarray(_MOVES[site.operator.name](site, arrays), object)]


@knows(*_ARITHMETIC)
def computed(site: Site) -> Sequence[Array | None]:
    """Sizes that were computed of others."""
    arrays = _arrays(site)
    if arrays is None or any(isinstance(item, str) for array in arrays for item in array.reshape(-1)):
        return []
    return [np.asarray(_ARITHMETIC[site.operator.name](*arrays), object)]


@knows("UNPACK")
def unpacked(site: Site) -> Sequence[Array | None]:
    """Each size by itself."""
    arrays = _arrays(site)
    if arrays is None:
        return []
    return [np.asarray(part, object) for part in np.moveaxis(arrays[0], site.option("axis"), 0)]


def _arrays(site: Site) -> list[Array] | None:
    """What all inputs hold, as Python's integers, which do not overflow; None where that is not known."""
    if site.output().dtype.kind != "i":
        return None
    found = [site.known(index) for index in range(len(site.operator.inputs))]
    if any(array is None or array.dtype.kind not in "iO" or array.size > MOST for array in found):
        return None
    return [array.astype(object) for array in found if array is not None]
