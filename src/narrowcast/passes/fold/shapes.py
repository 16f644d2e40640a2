"""Arithmetic on shapes, with dimensions that may be unknown.

The value of a small integer tensor is an array of objects: an int where the element is known, None where it is not.
So the height and width of a tensor are known while its batch is open. One decorated function per operator; each gets
its node and the values of its inputs, and returns the value of its output; `need` and `require` end it where it has
nothing to say.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from narrowcast.dialect.build import Builder, constant_of, input_of
from narrowcast.model import Array, ir
from narrowcast.passes.fold.replace import drop, initializer, substitute
from narrowcast.passes.rewrite import Skip, need, require

__all__ = ["fold_shapes", "lift_constants"]

LARGEST = 64
"""Elements of the largest tensor that is taken for a shape."""

Partial = np.ndarray[Any, np.dtype[np.object_]]
Evaluate = Callable[[ir.Node, list[Partial | None]], Partial]
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
        try:
            found = evaluate(node, [_value(value, known) for value in node.inputs])
        except Skip:
            continue
        if found.size > LARGEST:
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


def _ints(value: Partial | None) -> Array:
    """A value of which every element is known."""
    known = need(value)
    require(all(item is not None for item in known.flat))
    return known.astype(np.int64)


def _int(value: Partial | None) -> int:
    """A known single number."""
    known = _ints(value)
    require(known.size == 1)
    return int(known.item())


def _dims(value: ir.Value | None) -> list[int | None]:
    return [dim if isinstance(dim, int) else None for dim in need(need(value).shape)]


@_evaluates("Shape")
def _shape(node: ir.Node, inputs: list[Partial | None]) -> Partial:
    end = node.attributes.get("end")
    return _objects(_dims(node.inputs[0])[node.attributes.get_int("start", 0) : None if end is None else end.as_int()])


@_evaluates("Size")
def _size(node: ir.Node, inputs: list[Partial | None]) -> Partial:
    return _product(_dims(node.inputs[0]))


def _product(items: list[int | None]) -> Partial:
    total: int | None = 1
    for item in items:
        total = 0 if 0 in (item, total) else None if item is None or total is None else total * item
    return _objects(total)


@_evaluates("Identity", "Cast")
def _same(node: ir.Node, inputs: list[Partial | None]) -> Partial:
    require(node.outputs[0].dtype in (ir.DataType.INT64, ir.DataType.INT32))
    return need(inputs[0])


@_evaluates("Gather")
def _gather(node: ir.Node, inputs: list[Partial | None]) -> Partial:
    data, indices, axis = need(inputs[0]), _ints(inputs[1]), node.attributes.get_int("axis", 0)
    require(-data.ndim <= axis < data.ndim)
    require(((indices >= -data.shape[axis]) & (indices < data.shape[axis])).all())
    return _objects(np.take(data, indices, axis))


@_evaluates("Slice")
def _slice(node: ir.Node, inputs: list[Partial | None]) -> Partial:
    data, start, end = need(inputs[0]), _int(inputs[1]), _int(inputs[2])
    given = [_int(value) for value, name in zip(inputs[3:], node.inputs[3:], strict=True) if name is not None]
    step = given[-1] if input_of(node, 4) is not None else 1
    require(data.ndim == 1 and step)
    return data[start : None if step < 0 and end < -data.size else end : step]


@_evaluates("Concat")
def _concat(node: ir.Node, inputs: list[Partial | None]) -> Partial:
    require(any(known is not None for known in inputs))
    parts = [_unknown(value) if known is None else known for value, known in zip(node.inputs, inputs, strict=True)]
    require(all(part.ndim == 1 for part in parts))
    return np.concatenate(parts)


def _unknown(value: ir.Value | None) -> Partial:
    """An integer tensor of known shape of which no element is known."""
    shape = [need(dim) for dim in _dims(value)]
    require(need(value).dtype in _INTEGERS and len(shape) <= 1 and shape <= [LARGEST])
    return np.full(shape, None)


@_evaluates("Unsqueeze", "Squeeze")
def _rank(node: ir.Node, inputs: list[Partial | None]) -> Partial:
    """Between a number and a list of one."""
    data, squeezed = need(inputs[0]), node.op_type == "Squeeze"
    require(data.size == 1 and all(axes is None or axes.size == 1 for axes in inputs[1:]))
    require(data.ndim == int(squeezed))
    return data.reshape(() if squeezed else 1)


@_evaluates("Reshape")
def _reshape(node: ir.Node, inputs: list[Partial | None]) -> Partial:
    data, target = need(inputs[0]), _ints(inputs[1]).tolist()
    require(target in ([], [1], [-1], [data.size]))
    return data.reshape(target)


_BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "Add": operator.add,
    "Sub": operator.sub,
    "Mul": operator.mul,
    "Max": max,
    "Min": min,
}


@_evaluates(*_BINARY, "Div")
def _binary(node: ir.Node, inputs: list[Partial | None]) -> Partial:
    """Integers, element by element; ONNX divides them towards zero, which for positive ones is Python's //."""
    require(len(inputs) == 2)
    left, right = np.broadcast_arrays(need(inputs[0]), need(inputs[1]))
    require(left.size <= LARGEST)
    function = _BINARY.get(node.op_type, _divide)
    found = [None if None in (a, b) else function(a, b) for a, b in zip(left.flat, right.flat, strict=True)]
    return _objects(found).reshape(left.shape)


def _divide(numerator: int, denominator: int) -> int | None:
    return numerator // denominator if numerator >= 0 and denominator > 0 else None


@_evaluates("Range")
def _range(node: ir.Node, inputs: list[Partial | None]) -> Partial:
    start, limit, step = (_int(value) for value in inputs)
    require(step and (limit - start) // step < LARGEST)
    return _objects(list(range(start, limit, step)))


@_evaluates("ReduceProd")
def _reduce_product(node: ir.Node, inputs: list[Partial | None]) -> Partial:
    data = need(inputs[0])
    require(data.ndim == 1 and all(axes is None or axes.size == 1 for axes in inputs[1:]))
    return _product(list(data)).reshape((1,) if node.attributes.get_int("keepdims", 1) else ())


@_evaluates("Equal")
def _equal(node: ir.Node, inputs: list[Partial | None]) -> Partial:
    """An unknown dimension equals no negative number."""
    left, right = np.broadcast_arrays(need(inputs[0]), need(inputs[1]))

    def same(a: int | None, b: int | None) -> bool | None:
        if a is not None and b is not None:
            return a == b
        return False if (a if b is None else b or 0) is not None and (a or b or 0) < 0 else None

    found = [same(a, b) for a, b in zip(left.flat, right.flat, strict=True)]
    return _objects(found).reshape(left.shape)


@_evaluates("Where")
def _where(node: ir.Node, inputs: list[Partial | None]) -> Partial:
    condition, yes, no = np.broadcast_arrays(*map(need, inputs))
    found = [
        (a if test else b) if test is not None else None
        for test, a, b in zip(condition.flat, yes.flat, no.flat, strict=True)
    ]
    return _objects(found).reshape(condition.shape)
