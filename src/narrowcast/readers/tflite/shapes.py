"""The shapes of inputs: the file's, what the user says of them, and what stays open.

LiteRT can be asked for other sizes than the file's, whether it calls them open or not; so can the reader, and whatever
in the file has a size of its own then says that it does not fit.
"""

from __future__ import annotations

from collections.abc import Mapping

from narrowcast.errors import UsageError
from narrowcast.readers.formats import ReadOptions
from narrowcast.readers.open_shapes import BATCH, OPEN, Dims, check_inputs, fill, left_open, shape_text
from narrowcast.readers.tflite.file import Subgraph, Tensor

__all__ = ["input_shapes"]


def input_shapes(graph: Subgraph, inputs: Mapping[str, int], options: ReadOptions) -> dict[str, tuple[int | str, ...]]:
    """The shapes of a graph's inputs by name; open dimensions have names.

    Args:
        graph: the subgraph.
        inputs: the indices of its inputs by their names.
        options: what the user says.

    Raises:
        UsageError: that does not fit the inputs, or leaves a dimension open.
    """
    for name in options.input_shapes:
        if name not in inputs:
            raise UsageError(f"no input {name!r}", hint=f"the inputs are {', '.join(inputs)}")
    batch = BATCH if options.batch == "dynamic" else options.batch
    shapes: dict[str, Dims | None] = {}
    for name, index in inputs.items():
        given = options.input_shapes.get(name)
        stored = graph.tensors[index]
        shapes[name] = _declared(stored, batch) if given is None else _given(name, stored, given)
    settled, _ = left_open(shapes) if options.leave_open else fill(shapes, options.sizes)
    check_inputs(settled, unknown="1,224,224,3")
    return {name: tuple(dim for dim in dims or () if dim is not None) for name, dims in settled.items()}


def _declared(stored: Tensor, batch: int | str) -> Dims:
    """The dimensions as the file has them, None for an open one; the first is the batch where it is open, or 1."""
    dims: list[int | str | None] = [None if dim < 0 else dim for dim in stored.signature or stored.shape]
    if dims and (dims[0] is None or (len(dims) > 1 and dims[0] == 1 and batch != 1)):
        dims[0] = batch
    return dims


def _given(name: str, stored: Tensor, given: tuple[int | None, ...]) -> Dims:
    if any(size is not None and size < 1 for size in given):
        raise UsageError(f"input {name!r} cannot have the shape {shape_text(given)}")
    if len(given) != len(stored.shape):
        known = shape_text(stored.shape)
        raise UsageError(f"input {name!r} has {len(stored.shape)} dimensions ({known}), not {len(given)}")
    opened = [BATCH, *(f"{OPEN}{name}.{axis}" for axis in range(1, len(given)))]
    return [opened[axis] if size is None else size for axis, size in enumerate(given)]
