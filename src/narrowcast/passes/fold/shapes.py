"""Arithmetic on shapes, with dimensions that may be unknown.

The value of a small integer tensor is an array of objects: an int where the element is known, None where it is not.
So the height and width of a tensor are known while its batch is open. One decorated function per operator; each gets
its node and the values of its inputs, and returns the value of its output, or None where it has nothing to say.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from narrowcast.dialect.build import Builder, constant_of
from narrowcast.model import Array, ir
from narrowcast.passes.fold.replace import drop, initializer, substitute

__all__ = ["fold_shapes", "lift_constants"]

LARGEST = 64
"""Elements of the largest tensor that is taken for a shape."""

Partial = np.ndarray[Any, np.dtype[np.object_]]
Evaluate = Callable[[ir.Node, list[Partial | None]], Partial | None]
_EVALUATE: dict[str, Evaluate] = {}
_INTEGERS = frozenset({ir.DataType.INT64, ir.DataType.INT32, ir.DataType.BOOL})


def lift_constants(graph: ir.Graph) -> bool:
    """Makes initialisers of the `Constant` nodes of one graph, without a copy of their data; True if there were any."""
    changed = False
    for node in list(graph):
        tensor = _tensor_of(node) if node.op_type == "Constant" and not node.domain else None
        if tensor is None:
            continue
        old, build = node.outputs[0], Builder(graph)
        if old.is_graph_output():
            name = build.unique(f"{old.name}/constant")
        else:
            name, old.name = old.name or "", f"{old.name}/Constant"
        substitute(build, old, initializer(graph, tensor, name))
        graph.remove(node, safe=True)
        changed = True
    return changed


def _tensor_of(node: ir.Node) -> ir.TensorProtocol | None:
    for name, attribute in node.attributes.items():
        if name == "value":
            tensor = attribute.as_tensor()
            external = isinstance(tensor, ir.ExternalTensor) or tensor.dtype.bitwidth < 8
            return tensor if external or tensor.dtype is ir.DataType.STRING else ir.Tensor(tensor.numpy(), tensor.dtype)
        if name in ("value_int", "value_ints"):
            return ir.Tensor(np.array(attribute.value, np.int64))
        if name in ("value_float", "value_floats"):
            return ir.Tensor(np.array(attribute.value, np.float32))
    return None


def fold_shapes(graph: ir.Graph) -> bool:
    """Replaces integer tensors that follow from static dimensions by initialisers; True if there were any."""
    known: dict[ir.Value, Partial] = {}
    build = Builder(graph)
    changed = False
    for node in list(graph):
        evaluate = _EVALUATE.get(node.op_type)
        if evaluate is None or node.domain or len(node.outputs) != 1:
            continue
        output = node.outputs[0]
        found = evaluate(node, [_value(value, known) for value in node.inputs])
        if found is None or found.size > LARGEST:
            continue
        dtype = np.int64 if node.op_type in ("Shape", "Size") else output.dtype.numpy() if output.dtype else None
        if dtype is None or any(item is None for item in found.flat):
            known[output] = found
            continue
        substitute(build, output, found.astype(dtype))
        drop(graph, node)
        changed = True
    return changed


def _value(value: ir.Value | None, known: dict[ir.Value, Partial]) -> Partial | None:
    if value is None:
        return None
    if value in known:
        return known[value]
    tensor = value.const_value
    if tensor is None or tensor.dtype not in _INTEGERS or tensor.size > LARGEST:
        return None
    array = constant_of(value)
    return None if array is None else array.astype(object)


def _evaluates(*operators: str) -> Callable[[Evaluate], Evaluate]:
    def register(function: Evaluate) -> Evaluate:
        for name in operators:
            _EVALUATE[name] = function
        return function

    return register


def _objects(items: Any) -> Partial:
    """An array of objects; numpy would make numbers of them where it can."""
    array = np.empty(np.shape(items), object)
    array[...] = items
    return array


def _ints(value: Partial | None) -> Array | None:
    """A value of which every element is known."""
    return None if value is None or any(item is None for item in value.flat) else value.astype(np.int64)


def _dims(value: ir.Value | None) -> list[int | None] | None:
    if value is None or value.shape is None:
        return None
    return [dim if isinstance(dim, int) else None for dim in value.shape]


@_evaluates("Shape")
def _shape(node: ir.Node, inputs: list[Partial | None]) -> Partial | None:
    dims = _dims(node.inputs[0])
    if dims is None:
        return None
    end = node.attributes.get("end")
    return _objects(dims[node.attributes.get_int("start", 0) : None if end is None else end.as_int()])


@_evaluates("Size")
def _size(node: ir.Node, inputs: list[Partial | None]) -> Partial | None:
    dims = _dims(node.inputs[0])
    return None if dims is None else _product(dims)


def _product(items: list[int | None]) -> Partial:
    total: int | None = 1
    for item in items:
        total = 0 if 0 in (item, total) else None if item is None or total is None else total * item
    return _objects(total)


@_evaluates("Identity", "Cast")
def _same(node: ir.Node, inputs: list[Partial | None]) -> Partial | None:
    return inputs[0] if node.outputs[0].dtype in (ir.DataType.INT64, ir.DataType.INT32) else None


@_evaluates("Gather")
def _gather(node: ir.Node, inputs: list[Partial | None]) -> Partial | None:
    data, indices = inputs[0], _ints(inputs[1])
    axis = node.attributes.get_int("axis", 0)
    if data is None or indices is None or not -data.ndim <= axis < data.ndim:
        return None
    size = data.shape[axis]
    if ((indices < -size) | (indices >= size)).any():
        return None
    return _objects(np.take(data, indices, axis))


@_evaluates("Slice")
def _slice(node: ir.Node, inputs: list[Partial | None]) -> Partial | None:
    data, starts, ends = inputs[0], _ints(inputs[1]), _ints(inputs[2])
    given = [_ints(value) for value in inputs[3:]]
    if data is None or data.ndim != 1 or starts is None or ends is None or starts.size != 1 or ends.size != 1:
        return None
    if any(value is None for value, name in zip(given, node.inputs[3:], strict=True) if name is not None):
        return None
    step = int(given[1].item()) if len(given) > 1 and given[1] is not None else 1
    start, end = int(starts.item()), int(ends.item())
    return data[start : None if step < 0 and end < -data.size else end : step] if step else None


@_evaluates("Concat")
def _concat(node: ir.Node, inputs: list[Partial | None]) -> Partial | None:
    parts = [_unknown(value) if known is None else known for value, known in zip(node.inputs, inputs, strict=True)]
    if any(part is None or part.ndim != 1 for part in parts) or all(known is None for known in inputs):
        return None
    return np.concatenate([part for part in parts if part is not None])


def _unknown(value: ir.Value | None) -> Partial | None:
    """An integer tensor of known shape of which no element is known."""
    dims = _dims(value)
    if value is None or value.dtype not in _INTEGERS or dims is None or len(dims) > 1:
        return None
    return np.full([dim for dim in dims if dim is not None], None) if None not in dims and dims <= [LARGEST] else None


@_evaluates("Unsqueeze", "Squeeze")
def _rank(node: ir.Node, inputs: list[Partial | None]) -> Partial | None:
    """Between a number and a list of one."""
    data = inputs[0]
    axes = inputs[1] if len(inputs) > 1 else None
    if data is None or data.size != 1 or (axes is not None and axes.size != 1):
        return None
    if node.op_type == "Squeeze":
        return data.reshape(()) if data.ndim == 1 else None
    return data.reshape(1) if data.ndim == 0 else None


@_evaluates("Reshape")
def _reshape(node: ir.Node, inputs: list[Partial | None]) -> Partial | None:
    data, target = inputs[0], _ints(inputs[1])
    if data is None or target is None or target.tolist() not in ([], [1], [-1], [data.size]):
        return None
    return data.reshape(target.tolist())


_BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "Add": operator.add,
    "Sub": operator.sub,
    "Mul": operator.mul,
    "Max": max,
    "Min": min,
}


@_evaluates(*_BINARY, "Div")
def _binary(node: ir.Node, inputs: list[Partial | None]) -> Partial | None:
    """Integers, element by element; ONNX divides them towards zero, which for positive ones is Python's //."""
    if len(inputs) != 2 or inputs[0] is None or inputs[1] is None:
        return None
    left, right = np.broadcast_arrays(inputs[0], inputs[1])
    if left.size > LARGEST:
        return None
    function = _BINARY.get(node.op_type, _divide)
    found = [None if None in (a, b) else function(a, b) for a, b in zip(left.flat, right.flat, strict=True)]
    return _objects(found).reshape(left.shape)


def _divide(numerator: int, denominator: int) -> int | None:
    return numerator // denominator if numerator >= 0 and denominator > 0 else None


@_evaluates("Range")
def _range(node: ir.Node, inputs: list[Partial | None]) -> Partial | None:
    bounds = [_ints(value) for value in inputs]
    start, limit, step = (int(value.item()) if value is not None and value.size == 1 else None for value in bounds)
    if start is None or limit is None or not step or (limit - start) // step >= LARGEST:
        return None
    return _objects(list(range(start, limit, step)))


@_evaluates("ReduceProd")
def _reduce_product(node: ir.Node, inputs: list[Partial | None]) -> Partial | None:
    data = inputs[0]
    axes = inputs[1] if len(inputs) > 1 else None
    if data is None or data.ndim != 1 or (axes is not None and axes.size != 1):
        return None
    return _product(list(data)).reshape((1,) if node.attributes.get_int("keepdims", 1) else ())


@_evaluates("Equal")
def _equal(node: ir.Node, inputs: list[Partial | None]) -> Partial | None:
    """An unknown dimension equals no negative number."""
    if inputs[0] is None or inputs[1] is None:
        return None
    left, right = np.broadcast_arrays(inputs[0], inputs[1])

    def same(a: int | None, b: int | None) -> bool | None:
        if a is not None and b is not None:
            return a == b
        return False if (a if b is None else b or 0) is not None and (a or b or 0) < 0 else None

    found = [same(a, b) for a, b in zip(left.flat, right.flat, strict=True)]
    return _objects(found).reshape(left.shape)


@_evaluates("Where")
def _where(node: ir.Node, inputs: list[Partial | None]) -> Partial | None:
    if any(value is None for value in inputs):
        return None
    condition, yes, no = np.broadcast_arrays(*[value for value in inputs if value is not None])
    found = [
        (a if test else b) if test is not None else None
        for test, a, b in zip(condition.flat, yes.flat, no.flat, strict=True)
    ]
    return _objects(found).reshape(condition.shape)
