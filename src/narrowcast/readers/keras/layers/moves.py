"""Functions that move elements without computing with them, of `keras.ops` and of TensorFlow."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from narrowcast.errors import ModelFileError
from narrowcast.readers.emit import Dim, Tensor, broadcast
from narrowcast.readers.keras.arguments import argument, axes_of, integer_of, tensor_of, tensors_of
from narrowcast.readers.keras.config import LayerConfig
from narrowcast.readers.keras.emit import Emitter, Weights
from narrowcast.readers.keras.layers.reshaping import resolved, sizes_of
from narrowcast.readers.keras.registry import Inputs, operation, unsupported


@operation("Reshape", "reshape")
def reshape(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """Another shape, whose first axis must remain the batch."""
    x = tensor_of(inputs)
    target = _known(argument(layer, inputs, "newshape", 1, argument(layer, inputs, "shape", 1)))
    if target is None:
        raise unsupported("a shape that is computed cannot be read", "use a Reshape layer")
    if isinstance(target[0], str) and target[0] == x.shape[0]:
        rest = [integer_of(dim, "a size") for dim in target[1:]]
        return g.reshape(x, (x.shape[0], *resolved(rest, math.prod(sizes_of(x)))))
    sizes = [integer_of(dim, "a size") for dim in target]
    behind = sizes[1:]
    if behind and sizes[0] in (-1, x.shape[0]) and -1 not in behind and math.prod(behind) == math.prod(sizes_of(x)):
        return g.reshape(x, (x.shape[0], *behind))
    return g.reshape(x, resolved(sizes, math.prod(x.dim(axis) for axis in range(x.rank))))


def _known(shape: Any) -> list[Dim] | None:
    """The sizes of a shape, -1 for an open one: numbers, or parts of tensors' shapes; None if others are among."""
    if isinstance(shape, Tensor):
        return None if shape.sizes is None else list(shape.sizes)
    found: list[Dim] = []
    for dim in shape if isinstance(shape, list | tuple) else [shape]:
        part = dim.sizes if isinstance(dim, Tensor) else (-1 if dim is None else dim,)
        if part is None or not all(isinstance(size, int | str) for size in part):
            return None
        found += part
    return found or None


@operation("shape", "compat.v1.shape", "shape_v2")
def shape_of(g: Emitter, _layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """The sizes of a tensor's axes."""
    x = tensor_of(inputs)
    made = g.cast(g.op("Shape", x, shape=(x.rank,), dtype=np.int64), np.int32)
    made.sizes = x.shape
    return made


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
    return g.concat(_joined(g, inputs), _axis_behind(layer, inputs))


def _joined(g: Emitter, inputs: Inputs) -> list[Tensor]:
    """The tensors that a function joins; numbers may stand among sizes."""
    tensors = tensors_of(inputs)
    items = inputs.args[0] if inputs.args and isinstance(inputs.args[0], list) else inputs.args
    if all(isinstance(item, Tensor) for item in items):
        return tensors
    if not tensors or not all(isinstance(item, int) or (isinstance(item, Tensor) and item.sizes) for item in items):
        raise unsupported("constants among the tensors cannot be read", "concatenate tensors alone")
    return [
        item
        if isinstance(item, Tensor)
        else Tensor((), np.dtype(np.int32), g.constant(item, "size", np.int32), sizes=(item,))
        for item in items
    ]


def _axis_behind(layer: LayerConfig, inputs: Inputs) -> int:
    """The axis of a function of many tensors, which Keras 2 lists side by side."""
    place = 1 if inputs.args and isinstance(inputs.args[0], list) else len(inputs.args)
    return integer_of(argument(layer, inputs, "axis", place, 0), "axis")


@operation("Stack", "stack")
def stack(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """Tensors joined along a new axis."""
    tensors = _joined(g, inputs)
    axis = _axis_behind(layer, inputs) % (tensors[0].rank + 1)
    widened = [g.reshape(x, (*x.shape[:axis], 1, *x.shape[axis:])) for x in tensors]
    made = g.concat(widened, axis)
    made.sizes = tuple(size for x in tensors for size in x.sizes or ()) if all(x.sizes for x in tensors) else None
    return made


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
    sizes = x.sizes
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
    made = g.reshape(x, shape)
    if sizes is not None and isinstance(items[0], int | slice):
        made.sizes = sizes[items[0]] if isinstance(items[0], slice) else (sizes[items[0]],)
    return made


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


@operation("Pad", "compat.v1.pad", "pad")
def pad(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """Elements around those that are there: a constant, or mirrored ones."""
    x = tensor_of(inputs)
    widths = argument(layer, inputs, "pad_width", 1, argument(layer, inputs, "paddings", 1))
    mode = str(argument(layer, inputs, "mode", 2, "constant")).lower()
    value = argument(layer, inputs, "constant_values", 3, 0)
    pairs = [tuple(pair) for pair in widths] if isinstance(widths, list | tuple) else []
    if len(pairs) != x.rank or any(
        len(pair) != 2 or not all(isinstance(n, int) and n >= 0 for n in pair) for pair in pairs
    ):
        raise unsupported(f"the padding {str(widths)[:80]} cannot be read", "give two constants for each axis")
    if mode not in ("constant", "reflect", "symmetric") or not isinstance(value, int | float):
        raise unsupported(f"padding of the mode {mode!r} cannot be read", "use constant, reflect or symmetric")
    for axis, (before, after) in enumerate(pairs):
        if mode == "constant" or not before + after:
            continue
        size = x.dim(axis)
        if max(before, after) > size - (mode == "reflect"):
            raise ModelFileError(f"{before} and {after} elements cannot be mirrored from {size}")
        row = np.arange(size)
        mirrored = np.pad(row, (before, after), "reflect" if mode == "reflect" else "symmetric")
        x = _picked(g, x, axis, mirrored.tolist())
    if mode != "constant" or not any(map(any, pairs)):
        return x
    shape = tuple(x.dim(axis) + sum(pair) if any(pair) else x.shape[axis] for axis, pair in enumerate(pairs))
    amounts = g.ints([before for before, _ in pairs] + [after for _, after in pairs], "pads")
    return g.op("Pad", x, amounts, g.constant(value, "filling", x.dtype), shape=shape, mode="constant")


def _picked(g: Emitter, x: Tensor, axis: int, places: list[int]) -> Tensor:
    """The elements at some places along an axis."""
    shape = (*x.shape[:axis], len(places), *x.shape[axis + 1 :])
    return g.op("Gather", x, g.ints(places, "places"), shape=shape, axis=axis)


@operation("Take", "gather", "compat.v1.gather")
def take(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """The elements at some places along an axis."""
    x = tensor_of(inputs)
    places = argument(layer, inputs, "indices", 1)
    axis = argument(layer, inputs, "axis", 2, None if layer.operation else 0)
    if axis is None or argument(layer, inputs, "batch_dims", 9, 0):
        raise unsupported("places among all elements, or in each sample others, cannot be read", "name one axis")
    axis = x.axis(integer_of(axis, "axis"))
    if isinstance(places, Tensor):
        wanted = places if places.dtype.kind == "i" else g.cast(places, np.int32)
    else:
        array = np.asarray(places)
        if array.dtype.kind != "i" or (array.size and not -x.dim(axis) <= array.min() <= array.max() < x.dim(axis)):
            raise ModelFileError(f"there are no elements {str(places)[:80]} along axis {axis} of {x.shape}")
        wanted = Tensor(array.shape, np.dtype(np.int64), g.constant(array % x.dim(axis), "places", np.int64))
    return g.op("Gather", x, wanted, shape=(*x.shape[:axis], *wanted.shape, *x.shape[axis + 1 :]), axis=axis)


@operation("Flip", "reverse")
def flip(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """The opposite order along some axes."""
    x = tensor_of(inputs)
    for axis in axes_of(argument(layer, inputs, "axis", 1), x):
        x = g.slice(x, axis, -1, -x.dim(axis) - 1, -1)
    return x


@operation("Roll", "roll")
def roll(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """Each element some places further along an axis, the last ones first."""
    x = tensor_of(inputs)
    axes, shifts = argument(layer, inputs, "axis", 2), argument(layer, inputs, "shift", 1)
    axes, shifts = ([item] if isinstance(item, int) else item for item in (axes, shifts))
    if not isinstance(axes, list | tuple) or not isinstance(shifts, list | tuple) or len(axes) != len(shifts):
        raise unsupported("such a shift cannot be read", "give an axis, and a constant")
    for axis, shift in zip(axes, shifts, strict=True):
        place, size = x.axis(integer_of(axis, "axis")), x.dim(integer_of(axis, "axis"))
        cut = -integer_of(shift, "shift") % size
        if cut:
            x = g.concat([g.slice(x, place, cut, size), g.slice(x, place, 0, cut)], place)
    return x


@operation("Tile", "tile")
def tile(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """The tensor several times along each axis."""
    x = tensor_of(inputs)
    times = argument(layer, inputs, "repeats", 1, argument(layer, inputs, "multiples", 1))
    times = [times] if isinstance(times, int) else times
    if not isinstance(times, list | tuple) or not all(isinstance(item, int) and item > 0 for item in times):
        raise unsupported("a number of repetitions that is computed cannot be read", "use constants")
    x = g.reshape(x, (*(1,) * (len(times) - x.rank), *x.shape))
    times = [1] * (x.rank - len(times)) + list(times)
    shape = tuple(
        dim if count == 1 else x.dim(axis) * count for axis, (dim, count) in enumerate(zip(x.shape, times, strict=True))
    )
    return g.op("Tile", x, g.ints(times, "repeats"), shape=shape)


@operation("Repeat", "repeat")
def repeat(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """Each element several times in a row along an axis."""
    x = tensor_of(inputs)
    times, axis = argument(layer, inputs, "repeats", 1), argument(layer, inputs, "axis", 2)
    if not isinstance(times, int) or times < 1 or axis is None:
        raise unsupported("such a repetition cannot be read", "give one constant, and an axis")
    axis = x.axis(integer_of(axis, "axis"))
    return _picked(g, x, axis, [place for place in range(x.dim(axis)) for _ in range(times)])


@operation("BroadcastTo", "broadcast_to")
def broadcast_to(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """The tensor in a larger shape."""
    x = tensor_of(inputs)
    shape = argument(layer, inputs, "shape", 1)
    if not isinstance(shape, list | tuple) or not all(isinstance(dim, int) for dim in shape):
        raise unsupported("a shape that is computed cannot be read", "use constants")
    if broadcast(x.shape, tuple(shape)) != tuple(shape):
        raise ModelFileError(f"a tensor of shape {x.shape} does not fit {tuple(shape)}")
    return g.op("Expand", x, g.ints(shape, "shape"), shape=tuple(shape))


@operation("slice")
def slice_(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """A block: where it begins, and its sizes, of which -1 goes to the end."""
    x = tensor_of(inputs)
    begins, sizes = argument(layer, inputs, "begin", 1), argument(layer, inputs, "size", 2)
    if not all(isinstance(part, list) and len(part) == x.rank for part in (begins, sizes)):
        raise unsupported("a block whose place is computed cannot be read", "use constants")
    for axis, (begin, size) in enumerate(zip(begins, sizes, strict=True)):
        stop = None if size == -1 else integer_of(begin, "begin") + integer_of(size, "size")
        if (begin, stop) != (0, None) and (stop is None or (begin, stop) != (0, x.shape[axis])):
            x = _cut(g, x, axis, slice(begin, stop))
    return x


@operation("strided_slice")
def strided_slice(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """Ranges along the first axes."""
    x = tensor_of(inputs)
    begins, ends, steps = (argument(layer, inputs, name, 99) for name in ("begin", "end", "strides"))
    steps = steps if steps is not None else [1] * len(begins)
    masks = [
        argument(layer, inputs, f"{name}_mask", 99, 0)
        for name in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")
    ]
    if any(masks[2:]) or not all(isinstance(part, list) for part in (begins, ends, steps)):
        raise unsupported("such a slice cannot be read", "slice with x[...] and constants")
    for axis, (begin, end, step) in enumerate(zip(begins, ends, steps, strict=True)):
        start = None if masks[0] >> axis & 1 else begin
        stop = None if masks[1] >> axis & 1 else end
        whole = axis == 0 and (start or 0, step) == (0, 1) and stop in (None, 1, x.shape[0])
        x = x if whole else _cut(g, x, axis, slice(start, stop, step))
    return x


@operation("Unstack", "unstack")
def unstack(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> list[Tensor]:
    """Each element along an axis, without it."""
    x = tensor_of(inputs)
    axis = x.axis(integer_of(argument(layer, inputs, "axis", 2, 0), "axis"))
    shape = (*x.shape[:axis], *x.shape[axis + 1 :])
    return [g.reshape(g.slice(x, axis, place, place + 1), shape) for place in range(x.dim(axis))]


@operation("Swapaxes")
def swap_axes(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """Two axes in each other's place."""
    x = tensor_of(inputs)
    one, other = (x.axis(integer_of(argument(layer, inputs, name, 9), name)) for name in ("axis1", "axis2"))
    order = list(range(x.rank))
    order[one], order[other] = other, one
    return g.transpose(x, order)


@operation("linalg.matrix_transpose")
def matrix_transpose(g: Emitter, _layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """The last two axes in each other's place."""
    x = tensor_of(inputs)
    return g.transpose(x, (*range(x.rank - 2), x.rank - 1, x.rank - 2))


@operation("Moveaxis")
def move_axis(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """One axis in another place."""
    x = tensor_of(inputs)
    source, place = (x.axis(integer_of(argument(layer, inputs, name, 9), name)) for name in ("source", "destination"))
    order = [axis for axis in range(x.rank) if axis != source]
    order.insert(place, source)
    return g.transpose(x, order)
