"""Functions that move elements without computing with them, of `keras.ops` and of TensorFlow."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from narrowcast.errors import ModelFileError
from narrowcast.readers.emit import Dim, Tensor
from narrowcast.readers.keras.arguments import argument, axes_of, integer_of, tensor_of, tensors_of
from narrowcast.readers.keras.config import LayerConfig
from narrowcast.readers.keras.emit import Emitter, Weights
from narrowcast.readers.keras.layers.reshaping import resolved, sizes_of
from narrowcast.readers.keras.registry import Inputs, operation, unsupported


@operation("Reshape", "reshape")
def reshape(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """Another shape, whose first axis must remain the batch."""
    x = tensor_of(inputs)
    target = argument(layer, inputs, "newshape", 1, argument(layer, inputs, "shape", 1))
    if not isinstance(target, list | tuple) or not all(dim is None or isinstance(dim, int) for dim in target):
        raise unsupported("a shape that is computed cannot be read", "use a Reshape layer")
    sizes = [-1 if dim is None else dim for dim in target]
    if len(sizes) > 1 and sizes[0] in (-1, x.shape[0]) and -1 not in sizes[1:]:
        rest = math.prod(sizes[1:])
        if rest == math.prod(sizes_of(x)):
            return g.reshape(x, (x.shape[0], *sizes[1:]))
    return g.reshape(x, resolved(sizes, math.prod(x.dim(axis) for axis in range(x.rank))))


@operation("Transpose", "transpose", "compat.v1.transpose")
def transpose(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """The axes in another order, reversed by default."""
    x = tensor_of(inputs)
    order = argument(layer, inputs, "axes", 1, argument(layer, inputs, "perm", 1, list(reversed(range(x.rank)))))
    if sorted(axis % x.rank for axis in order) != list(range(x.rank)):
        raise ModelFileError(f"{order} is no permutation of {x.rank} axes")
    return g.transpose(x, tuple(axis % x.rank for axis in order))


@operation("ExpandDims", "expand_dims")
def expand_dims(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """A new axis of 1, or several."""
    x = tensor_of(inputs)
    axis = argument(layer, inputs, "axis", 1)
    axes = axis if isinstance(axis, list | tuple) else [axis]
    rank = x.rank + len(axes)
    places = {integer_of(item, "axis") % rank for item in axes}
    rest = iter(x.shape)
    return g.reshape(x, tuple(1 if place in places else next(rest) for place in range(rank)))


@operation("Squeeze", "squeeze", "compat.v1.squeeze")
def squeeze(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """Without the axes of 1, or without some of them."""
    x = tensor_of(inputs)
    axis = argument(layer, inputs, "axis", 1)
    if axis is None:
        raise unsupported("squeezing all axes of 1 would take the batch as well", "name the axes")
    axes = axes_of(axis, x)
    if any(x.shape[place] != 1 for place in axes):
        raise ModelFileError(f"the axes {axes} of {x.shape} are not all 1")
    return g.reshape(x, tuple(dim for place, dim in enumerate(x.shape) if place not in axes))


@operation("Concatenate", "concat")
def concatenate(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """Tensors joined along an axis."""
    return g.concat(tensors_of(inputs), integer_of(argument(layer, inputs, "axis", 1, 0), "axis"))


@operation("Stack", "stack")
def stack(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """Tensors joined along a new axis."""
    tensors = tensors_of(inputs)
    axis = integer_of(argument(layer, inputs, "axis", 1, 0), "axis") % (tensors[0].rank + 1)
    widened = [g.reshape(x, (*x.shape[:axis], 1, *x.shape[axis:])) for x in tensors]
    return g.concat(widened, axis)


@operation("Split", "split")
def split(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> list[Tensor]:
    """Equal parts, or parts between given places (Keras 3) or of given sizes (TensorFlow), along an axis."""
    x = tensor_of(inputs)
    axis = x.axis(integer_of(argument(layer, inputs, "axis", 2, 0), "axis"))
    parts = argument(layer, inputs, "indices_or_sections", 1, argument(layer, inputs, "num_or_size_splits", 1))
    size = x.dim(axis)
    if isinstance(parts, int):
        if parts < 1 or size % parts:
            raise ModelFileError(f"{size} elements cannot be split into {parts} equal parts")
        bounds = list(range(0, size + 1, size // parts))
    elif layer.kind == "Split":
        bounds = [0, *parts, size]
    else:
        bounds = np.cumsum([0, *parts]).tolist()
    return [g.slice(x, axis, begin, end) for begin, end in itertools.pairwise(bounds)]


@operation("GetItem", "__operators__.getitem")
def get_item(g: Emitter, _layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """Basic indexing: ranges, single indices, new axes and an ellipsis."""
    x = tensor_of(inputs)
    key = inputs.kwargs.get("slice_spec", inputs.kwargs.get("key"))
    key = key if key is not None else inputs.args[1] if len(inputs.args) > 1 else None
    items = [_index(item) for item in (key if isinstance(key, list | tuple) else [key])]
    used = sum(item is not None and item is not Ellipsis for item in items)
    if Ellipsis not in items:
        items.append(Ellipsis)
    place = items.index(Ellipsis)
    items[place : place + 1] = [slice(None)] * (x.rank - used)
    shape: list[Dim] = []
    axis = 0
    for item in items:
        if item is None:
            shape.append(1)
            continue
        x = _cut(g, x, axis, item)
        if isinstance(item, slice):
            shape.append(x.shape[axis])
        axis += 1
    return g.reshape(x, shape)


def _index(item: Any) -> Any:
    """One part of an index, whichever way it was spelled."""
    if isinstance(item, Mapping):
        if item.get("class_name") == "__ellipsis__":
            return Ellipsis
        item = slice(*(item.get(key) for key in ("start", "stop", "step")))
    parts = (item.start, item.stop, item.step) if isinstance(item, slice) else (item,)
    if item is not Ellipsis and not all(part is None or isinstance(part, int) for part in parts):
        raise unsupported("an index that is computed cannot be expressed", "slice with constants")
    return item


def _cut(g: Emitter, x: Tensor, axis: int, item: int | slice) -> Tensor:
    if item == slice(None):
        return x
    size = x.dim(axis)
    if isinstance(item, int):
        if not -size <= item < size:
            raise ModelFileError(f"the index {item} is beyond the {size} elements of axis {axis}")
        return g.slice(x, axis, item % size, item % size + 1)
    if item.step == 0:
        raise ModelFileError("a slice has the step 0")
    start, stop, step = item.indices(size)
    if not len(range(start, stop, step)):
        raise ModelFileError(f"a slice of axis {axis} of {x.shape} is empty")
    return g.slice(x, axis, start, stop if stop >= 0 else -size - 1, step)
