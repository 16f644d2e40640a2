"""A model whose batch, or another dimension, is open, prepared like one whose sizes are known.

Rules want static shapes. So the model is prepared twice, for two sizes of each open dimension, and the two are laid
side by side: what differs is what depends on one. Dimensions that differ are opened again, and constant operands are
spelled without them:

1. A Reshape to a target of which one entry differs has -1 there.
2. An Expand of what has the batch already has 1 there.
3. A Split into equal parts says their number, not their sizes.
4. A Resize to sizes says its scales.
5. A constant that repeats itself for every element of the batch is one of them where operands broadcast, and elsewhere
   is gathered as often: the indices are `x < x`, which is false, for one number of each element of an input.

6. A Slice up to the end of an open axis ends beyond it.

Everything else that differs could only be computed when the file runs, and is refused by name. What does not differ may
still depend on a height, a width or a length in other ways than on these two, as where windows overlap an edge; so
along such axes only operators are let through that do the same for every size (`_SIZELESS`). Elements of a batch have
nothing to do with each other, and any will do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from narrowcast.dialect.build import Builder, constant_of
from narrowcast.dialect.control import all_graphs, bodies_of
from narrowcast.dialect.ops import Kind, kind_of
from narrowcast.errors import ModelFileError, UnsupportedOpError
from narrowcast.model import Array, Model, ir
from narrowcast.passes.infer import infer_shapes

__all__ = ["has_open_batch", "prepare_open"]

BATCH = "batch"
SIZES = 11, 13
"""The two batches; hardly any other dimension has these sizes."""
SIDES = tuple((start, start + 97) for start in range(229, 280, 4))
LENGTHS = tuple((start, start + 499) for start in range(1009, 1060, 4))
"""The two sizes of other open dimensions in their order, of images and of others. No stride divides the difference, so
that what goes by remainders differs, too."""
HINT = "convert with fixed sizes: --batch 1, --input name:shape"
Sizes = dict[str, tuple[int, int]]


def has_open_batch(model: Model) -> bool:
    """Whether an input has a dimension that is not known."""
    return any(value.shape is not None and not value.shape.is_static() for value in model.graph.inputs)


def prepare_open(model: Model, prepare: Callable[[Model], object]) -> None:
    """Runs `prepare` on a model with an open batch, in place.

    Raises:
        UnsupportedOpError: names the first node that needs to know the batch.
    """
    sizes = _sizes(model)
    one, other = (_pinned(model, {name: pair[turn] for name, pair in sizes.items()}) for turn in (0, 1))
    prepare(one)
    prepare(other)
    names = {pair: name for name, pair in sizes.items()}
    _reopen(one.graph, other.graph, names)
    if set(sizes.values()) != {SIZES}:
        _check_operators(one.graph)
    for value, source in zip(one.graph.inputs, model.graph.inputs, strict=True):
        value.shape = source.shape
    model.ir = one.ir


def _sizes(model: Model) -> Sizes:
    """The two sizes of each open dimension, by its name."""
    found: Sizes = {}
    for value in model.graph.inputs:
        for axis, dim in enumerate(value.shape or ()):
            if not isinstance(dim, int) and (dim.value or "") not in found:
                pairs = SIDES if len(value.shape or ()) > 3 else LENGTHS
                found[dim.value or ""] = SIZES if axis == 0 else pairs[len(found) % len(pairs)]
    return found


def _pinned(model: Model, sizes: Mapping[str, int]) -> Model:
    copy = model.clone()
    for graph in all_graphs(copy.graph):
        for value in (*graph.inputs, *(output for node in graph for output in node.outputs)):
            if value.shape is not None:
                dims = [dim if isinstance(dim, int) else sizes.get(dim.value or "") for dim in value.shape]
                value.shape = ir.Shape(dims) if None not in dims else None
    try:
        infer_shapes(copy)
    except ModelFileError as error:
        chosen = ", ".join(f"{name.removeprefix('open:')} = {size}" for name, size in sizes.items())
        raise UnsupportedOpError(f"it does not work with {chosen}: {error.what}", hint=HINT) from error
    return copy


def _reopen(one: ir.Graph, other: ir.Graph, names: Mapping[tuple[int, int], str]) -> None:
    """Opens in a graph all that is not the same in another."""
    pairs = list(_pairs(one, other))
    twins_of = dict(zip(one.inputs, other.inputs, strict=True))
    for node, twin in pairs:
        twins_of.update(zip(node.outputs, twin.outputs, strict=True))
        _check_attributes(node, twin)
        for index, (value, counterpart) in enumerate(zip(node.inputs, twin.inputs, strict=True)):
            if value is None or not value.is_initializer():
                if value is not None and twins_of[value] is not counterpart:
                    raise _refusal(node, f"where its input {index} comes from depends on a dimension")
                continue
            if counterpart is None or not counterpart.is_initializer():
                raise _refusal(node, f"its input {index} depends on a dimension")
            array, differing = _array(value), _array(counterpart)
            if value.const_value is counterpart.const_value or _same(array, differing):
                continue
            if not any(spell(node, index, array, differing, Builder(one)) for spell in _SPELLINGS) and not _slice(
                node, twin, index, Builder(one)
            ):
                raise _refusal(node, f"its input {index} depends on a dimension")
        for body, its_twin in zip(bodies_of(node).values(), bodies_of(twin).values(), strict=True):
            _reopen(body, its_twin, names)
    for value, counterpart in zip(one.inputs, other.inputs, strict=True):
        _open_shape(value, counterpart, names)
    for node, twin in pairs:
        for value, counterpart in zip(node.outputs, twin.outputs, strict=True):
            _open_shape(value, counterpart, names)


def _pairs(one: ir.Graph, other: ir.Graph) -> Iterator[tuple[ir.Node, ir.Node]]:
    """Nodes and their counterparts, as long as the graphs are the same."""
    nodes, twins = list(one), list(other)
    for node, twin in zip(nodes, twins, strict=False):
        if (node.domain, node.op_type, len(node.inputs)) != (twin.domain, twin.op_type, len(twin.inputs)):
            raise _refusal(node, "what becomes of it depends on a dimension")
        yield node, twin
    if len(nodes) != len(twins):
        raise _refusal((nodes + twins)[min(len(nodes), len(twins)) - 1], "what follows it depends on a dimension")


def _array(value: ir.Value) -> Array:
    array = constant_of(value)
    assert array is not None
    return array


def _same(one: Array, other: Array) -> bool:
    return one.shape == other.shape and np.array_equal(one, other, equal_nan=one.dtype.kind == "f")


def _check_attributes(node: ir.Node, twin: ir.Node) -> None:
    for name, attribute in node.attributes.items():
        if attribute.type in (ir.AttributeType.GRAPH, ir.AttributeType.TENSOR):
            continue
        if attribute.value != twin.attributes[name].value:
            raise _refusal(node, f"its attribute {name!r} depends on a dimension")


def _reshape(node: ir.Node, index: int, one: Array, other: Array, build: Builder) -> bool:
    """Case 1."""
    if node.op_type != "Reshape" or index != 1 or np.count_nonzero(differs := one != other) != 1:
        return False
    node.replace_input_with(index, build.constant(np.where(differs, -1, one)))
    return True


def _expand(node: ir.Node, index: int, one: Array, other: Array, build: Builder) -> bool:
    """Case 2."""
    dims = _dims(node.inputs[0])
    if node.op_type != "Expand" or index != 1 or len(dims) != one.size:
        return False
    differs = one != other
    if any(dims[axis] == 1 for axis in np.flatnonzero(differs)):
        return False
    node.replace_input_with(index, build.constant(np.where(differs, 1, one)))
    return True


def _split(node: ir.Node, index: int, one: Array, other: Array, build: Builder) -> bool:
    """Case 3."""
    if node.op_type != "Split" or index != 1 or len({*one.tolist()}) != 1 or len({*other.tolist()}) != 1:
        return False
    node.replace_input_with(index, None)
    node.resize_inputs(1)
    node.attributes["num_outputs"] = ir.AttrInt64("num_outputs", len(node.outputs))
    return True


def _resize(node: ir.Node, index: int, one: Array, other: Array, build: Builder) -> bool:
    """Case 4; scales are single precision, and sizes rounded down."""
    dims = np.array(_dims(node.inputs[0]))
    if node.op_type != "Resize" or index != 3 or dims.size != one.size:
        return False
    scales = (one / dims).astype(np.float32)
    if not np.array_equal(np.floor(dims.astype(np.float32) * scales), one):
        return False
    node.replace_input_with(2, build.constant(scales))
    node.replace_input_with(3, None)
    return True


def _repeat(node: ir.Node, index: int, one: Array, other: Array, build: Builder) -> bool:
    """Case 5."""
    axes = [axis for axis in range(one.ndim) if one.shape[axis] != other.shape[axis]] if one.ndim == other.ndim else []
    if len(axes) != 1 or (one.shape[axes[0]], other.shape[axes[0]]) != SIZES:
        return False
    first = one.take([0], axes[0])
    if not all(_same(array, np.broadcast_to(first, array.shape)) for array in (one, other)):
        return False
    if kind_of(node) is Kind.ELEMENTWISE and len(node.inputs) > 1:
        node.replace_input_with(index, build.constant(first))
        return True
    source = next((value for value in build.graph.inputs if value.shape is not None and value.shape[0] in SIZES), None)
    if source is None:
        return False
    shape = [BATCH if axis == axes[0] else size for axis, size in enumerate(one.shape)]
    zeros = _zeros(Builder(build.graph, anchor=node), source)
    made = Builder(build.graph, anchor=node)("Gather", build.constant(first), zeros, axis=axes[0], shape=shape)
    node.replace_input_with(index, made)
    return True


def _zeros(build: Builder, source: ir.Value) -> ir.Value:
    """An int64 zero for each element of the batch of a graph input."""
    rank = len(_dims(source))
    if rank > 1:
        axes = np.arange(1, rank)
        bounds = (np.zeros_like(axes), np.ones_like(axes), axes, np.ones_like(axes))
        arguments = [build.constant(bound, "slice") for bound in bounds]
        source = build("Slice", source, *arguments, shape=[BATCH, *[1] * (rank - 1)])
        source = build("Reshape", source, build.constant(np.array([-1]), "shape"), shape=[BATCH])
    false = build("Less", source, source, shape=[BATCH], dtype=np.bool_)
    zeros: ir.Value = build("Cast", false, shape=[BATCH], dtype=np.int64, to=int(ir.DataType.INT64))
    return zeros


def _slice(node: ir.Node, twin: ir.Node, index: int, build: Builder) -> bool:
    """Case 6."""
    if node.op_type != "Slice" or node.domain or index != 2:
        return False
    axes, ends, others = (constant_of(value) for value in (node.inputs[3], node.inputs[2], twin.inputs[2]))
    if axes is None or ends is None or others is None or ends.shape != others.shape:
        return False
    sizes, its_sizes = _dims(node.inputs[0]), _dims(twin.inputs[0])
    whole = [(a, b) == (sizes[axis], its_sizes[axis]) for a, b, axis in zip(ends, others, axes.tolist(), strict=True)]
    if not all(whole[place] for place in np.flatnonzero(ends != others)):
        return False
    node.replace_input_with(2, build.constant(np.where(ends != others, np.iinfo(np.int32).max, ends)))
    return True


_SIZELESS = frozenset({Kind.ELEMENTWISE, Kind.REDUCTION, Kind.SPATIAL, Kind.AXIS_ATTRIBUTE, Kind.AXES_INPUT})
"""Kinds of operators that do the same for every size, but for those that the next line names."""
_SIZED = frozenset({"Resize", "ConvTranspose", "Split"})
_MORE_SIZELESS = frozenset({"Pad", "Transpose", "Reshape", "MatMul", "Gemm", "Gather"})


def _check_operators(graph: ir.Graph) -> None:
    """Refuses what an open dimension other than the batch goes through, unless it does the same for every size."""
    for node in graph:
        values = [value for value in (*node.inputs, *node.outputs) if value is not None and value.shape is not None]
        if not any(not isinstance(dim, int) and dim.value != BATCH for value in values for dim in value.shape or ()):
            continue
        sizeless = kind_of(node) in _SIZELESS and node.op_type not in _SIZED
        if not sizeless and (node.domain or node.op_type not in _MORE_SIZELESS):
            raise _refusal(node, "it must know the size of a dimension")


_SPELLINGS = (_reshape, _expand, _split, _resize, _repeat)


def _dims(value: ir.Value | None) -> list[int]:
    """The static dimensions of an operand."""
    assert value is not None
    assert value.shape is not None
    return [int(dim) for dim in value.shape.numpy()]


def _open_shape(value: ir.Value, counterpart: ir.Value, names: Mapping[tuple[int, int], str]) -> None:
    """Dimensions that differ get their names, or become unknown."""
    one, other = value.shape, counterpart.shape
    if one is None or other is None or list(one) == list(other):
        return
    pairs = zip(one.numpy(), other.numpy(), strict=True)
    value.shape = ir.Shape([a if a == b else names.get((a, b)) for a, b in pairs])


def _refusal(node: ir.Node, reason: str) -> UnsupportedOpError:
    return UnsupportedOpError(f"{reason}, which is open", where=f"{node.name or ''} ({node.op_type})", hint=HINT)
