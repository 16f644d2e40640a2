"""What each operator needs and yields under a label: one small function per kind of operator.

A rule is asked with label 0 (channels first) or 1 (channels last), read as: "your outputs shall be stored in this form
of theirs". It answers with a `Plan`, or None where the operator cannot work that way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from narrowcast.dialect.build import constant_of, input_of
from narrowcast.dialect.ops import Kind, kind_of
from narrowcast.model import CHANNELS_LAST, Array, ir
from narrowcast.passes.layout.forms import Form, identity, signature
from narrowcast.passes.layout.tags import DYNAMIC, Tags, shape_of
from narrowcast.passes.rewrite import Skip, need, reduced_axes, require
from narrowcast.targets.rules import takes_last_axis
from narrowcast.targets.spelling import block_of, dequantizer, is_weight

__all__ = ["Plan", "bytes_of", "plan", "strides_of"]


@dataclass(frozen=True, slots=True)
class Plan:
    """One way of running a node.

    Attributes:
        needs: for each input the form in which it is read; None leaves it as it is.
        outputs: the forms in which the outputs are stored.
        attributes: attributes that change.
        arrays: constant inputs that are replaced.
        domain: the operator's domain afterwards, None to keep it.
        yields: the form in which the operator itself leaves its outputs, where they are transposed afterwards.
        cost: bytes that the node itself moves for the sake of layout.
    """

    needs: tuple[Form | None, ...]
    outputs: tuple[Form, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[int, Array] = field(default_factory=dict)
    domain: str | None = None
    yields: Form | None = None
    cost: int = 0


def plan(node: ir.Node, label: int, tags: Tags) -> Plan | None:
    """How the node runs under `label`, None if it cannot."""
    outputs = tuple(tags.forms(value)[label] for value in node.outputs)
    kind = kind_of(node) or Kind.LOGICAL
    for rule in (_RULES[kind],) if kind is Kind.SPATIAL else (_RULES[kind], _logical):
        with suppress(Skip):
            return rule(node, label, tags, outputs)
    return None


def bytes_of(value: ir.Value) -> int:
    """Size of a tensor; a dynamic dimension counts as 1."""
    size = 1
    for dim in shape_of(value):
        size *= 1 if dim == DYNAMIC else dim
    step = dequantizer(value)
    if step is not None and step.inputs[0] is not None:
        value = step.inputs[0]
    return int(size * (value.dtype.itemsize if value.dtype is not None else 4))


def strides_of(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Row-major strides in elements."""
    strides = [1] * len(shape)
    for axis in range(len(shape) - 2, -1, -1):
        strides[axis] = strides[axis + 1] * shape[axis + 1]
    return tuple(strides)


def _logical(node: ir.Node, label: int, tags: Tags, outputs: tuple[Form, ...]) -> Plan:
    """Everything as the canonical graph says."""
    require(all(form.is_identity for form in outputs))
    needs = tuple(
        None if value is None or is_weight(value) else identity(len(shape_of(value))) for value in node.inputs
    )
    return Plan(needs, outputs)


def _elementwise(node: ir.Node, label: int, tags: Tags, outputs: tuple[Form, ...]) -> Plan:
    """All operands in the output's order; constants are permuted offline."""
    form = outputs[0]
    needs: list[Form | None] = []
    for value in node.inputs:
        wanted: Form | None = None
        if value is not None:
            shape = shape_of(value)
            if is_weight(value):
                wanted = form if max(shape, default=1) > 1 else None
            elif len(shape) == len(form.perm):
                wanted = form.broadcast(shape)
            else:
                require(form.is_identity or max(shape, default=1) == 1)
                wanted = identity(len(shape))
        needs.append(wanted)
    attributes: dict[str, Any] = {}
    if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
        per_axis = node.inputs[1] is not None and max(shape_of(node.inputs[1]), default=1) > 1
        axis = node.attributes.get_int("axis", 1) % max(len(form.perm), 1)
        if per_axis:
            require(form.inner[axis] is None)
            attributes["axis"] = form.stored_axis(axis)
        needs[1:] = [None] * (len(needs) - 1)
    return Plan(tuple(needs), (form,), attributes)


def _spatial(node: ir.Node, label: int, tags: Tags, outputs: tuple[Form, ...]) -> Plan:
    """Channels last only."""
    rank = len(shape_of(need(node.inputs[0])))
    form = Form((0, *range(2, rank), 1), (None,) * rank)
    require(label == 1 and all(output == form for output in outputs))
    arrays: dict[int, Array] = {}
    if node.op_type == "Resize":
        for index in (2, 3):
            array = constant_of(input_of(node, index))
            if array is not None and array.size == rank:
                arrays[index] = np.ascontiguousarray(array[list(form.perm)])
        require(not node.attributes.get_ints("axes", ()))
    needs = (form, *(None for _ in node.inputs[1:]))
    return Plan(needs, outputs, arrays=arrays, domain=CHANNELS_LAST)


def _axis_attribute(node: ir.Node, label: int, tags: Tags, outputs: tuple[Form, ...]) -> Plan:
    """Concat, Split, Softmax and their kin: the axis is renamed."""
    form = outputs[0]
    rank = len(form.perm)
    default = {"Softmax": -1, "LogSoftmax": -1, "LpNormalization": -1, "Hardmax": -1}.get(node.op_type, 0)
    axis = node.attributes.get_int("axis", default) % rank
    stored = form.stored_axis(axis)
    require(form.inner[axis] is None and all(output == form for output in outputs))
    if takes_last_axis(node, tags.target) and stored != rank - 1:
        moved = Form((*(i for i in range(rank) if i != axis), axis), (None,) * rank)
        return Plan((moved,), outputs, {"axis": rank - 1}, yields=moved, cost=2 * bytes_of(node.outputs[0]))
    needs = tuple(
        None if value is None or len(shape_of(value)) != rank or (node.op_type == "Split" and index) else form
        for index, value in enumerate(node.inputs)
    )
    return Plan(needs, outputs, {"axis": stored})


def _axes_input(node: ir.Node, label: int, tags: Tags, outputs: tuple[Form, ...]) -> Plan:
    """Slice and CumSum: the axes in an input are renamed."""
    form = outputs[0]
    rank = len(form.perm)
    index = {"Slice": 3, "CumSum": 1}[node.op_type]
    axes = need(constant_of(input_of(node, index)))
    require(all(form.inner[axis] is None for axis in (axes % rank).reshape(-1).tolist()))
    renamed = np.array([form.stored_axis(int(axis) % rank) for axis in axes.reshape(-1)], axes.dtype).reshape(
        axes.shape
    )
    return Plan((form, *(None for _ in node.inputs[1:])), outputs, arrays={index: renamed})


def _per_axis_input(node: ir.Node, label: int, tags: Tags, outputs: tuple[Form, ...]) -> Plan:
    """Pad, Tile, Expand: the amounts are reordered."""
    form = outputs[0]
    rank = len(form.perm)
    source, amounts = need(node.inputs[0]), need(constant_of(node.inputs[1]))
    require(form.is_plain and len(shape_of(source)) == rank and not is_weight(source))
    require(input_of(node, 3) is None and amounts.size in (rank, 2 * rank))
    amounts = amounts.reshape(-1, rank)[:, list(form.perm)].reshape(-1)
    return Plan((form, *(None for _ in node.inputs[1:])), outputs, arrays={1: amounts})


def _reduction(node: ir.Node, label: int, tags: Tags, outputs: tuple[Form, ...]) -> Plan:
    """Reductions: the axes are renamed; without `keepdims` the remaining axes must come out in the output's order."""
    source, axes = need(node.inputs[0]), need(reduced_axes(node))
    require(not is_weight(source))
    form = tags.forms(source)[label]
    keepdims = node.attributes.get_int("keepdims", 1) != 0
    kept = [axis for axis in range(len(form.perm)) if keepdims or axis not in axes]
    stored = [kept.index(axis) for axis in form.perm if axis in kept]
    inner = tuple(None if axis in axes else form.inner[axis] for axis in kept)
    require(node.op_type.startswith("Reduce") or all(form.inner[axis] is None for axis in axes))
    require(_stores_alike(Form(tuple(stored), inner), outputs[0], shape_of(node.outputs[0])))
    renamed = sorted(form.stored_axis(axis) for axis in axes)
    if node.op_type.startswith("Arg"):
        return Plan((form,), outputs, {"axis": renamed[0]})
    if input_of(node, 1) is None:
        require(len(axes) in (0, len(form.perm)))
        return Plan((form,), outputs)
    return Plan((form, None), outputs, arrays={1: np.array(renamed, np.int64)})


def _stores_alike(one: Form, other: Form, shape: tuple[int, ...]) -> bool:
    return one == other or (
        one.shape(shape) == other.shape(shape)
        and signature(shape, strides_of(shape), one) == signature(shape, strides_of(shape), other)
    )


def _transpose(node: ir.Node, label: int, tags: Tags, outputs: tuple[Form, ...]) -> Plan:
    """A Transpose renames axes; it moves bytes only where the stored orders differ."""
    source = need(node.inputs[0])
    require(not is_weight(source))
    before, after = tags.forms(source)[label], outputs[0]
    shape = shape_of(source)
    perm = node.attributes.get_ints("perm", tuple(reversed(range(len(shape)))))
    require(all(after.inner[i] == before.inner[axis] for i, axis in enumerate(perm)))
    stored = tuple(before.perm.index(perm[axis]) for axis in after.perm)
    physical = before.shape(shape)
    moved = [axis for axis in stored if physical[axis] != 1]
    cost = 0 if moved == sorted(moved) else bytes_of(source)
    return Plan((before,), outputs, {"perm": stored}, cost=cost)


def _reshape(node: ir.Node, label: int, tags: Tags, outputs: tuple[Form, ...]) -> Plan:
    """A Reshape stays one where both sides hold their elements in the same order."""
    source, target = need(node.inputs[0]), node.outputs[0]
    require(not is_weight(source))
    before, after = tags.forms(source)[label], outputs[0]
    inside, outside = shape_of(source), shape_of(target)
    require(signature(inside, strides_of(inside), before) == signature(outside, strides_of(outside), after))
    shape = np.array([-1 if dim == DYNAMIC else dim for dim in after.shape(outside)], np.int64)
    return Plan((before, None), outputs, {"allowzero": None}, {1: shape})


def _gemm(node: ir.Node, label: int, tags: Tags, outputs: tuple[Form, ...]) -> Plan:
    """Features in any order: the weights [out, in] and the bias are permuted offline."""
    attributes, before, after = node.attributes, tags.forms(need(node.inputs[0]))[label], outputs[0]
    require(is_weight(need(node.inputs[1])))
    require(attributes.get_int("transB", 0) == 1 and attributes.get_int("transA", 0) == 0)
    require(before.perm == after.perm == (0, 1) and not before.inner[0] and not after.inner[0])
    require(not _in_blocks(node.inputs[1]) or not (before.inner[1] or after.inner[1]))
    needs: list[Form | None] = [before, Form((0, 1), (after.inner[1], before.inner[1]))]
    if input_of(node, 2) is not None:
        needs.append(after)
    return Plan(tuple(needs), outputs)


def _matmul(node: ir.Node, label: int, tags: Tags, outputs: tuple[Form, ...]) -> Plan:
    """A dense layer over the last axis; the axes before it may be in any order."""
    source, weights = need(node.inputs[0]), need(node.inputs[1])
    before, after = tags.forms(source)[label], outputs[0]
    rank = len(before.perm)
    require(not is_weight(source) and is_weight(weights) and len(shape_of(weights)) == 2 and rank >= 2)
    require(before.perm == after.perm and before.perm[-1] == rank - 1 and before.inner[:-1] == after.inner[:-1])
    require(not _in_blocks(weights) or not (before.inner[-1] or after.inner[-1]))
    return Plan((before, Form((0, 1), (before.inner[-1], after.inner[-1]))), outputs)


def _in_blocks(weights: ir.Value | None) -> bool:
    """Whether runs of inputs share a scale, which are none in another order."""
    node = dequantizer(weights)
    return node is not None and block_of(node) != 0


def _gather(node: ir.Node, label: int, tags: Tags, outputs: tuple[Form, ...]) -> Plan:
    """One axis is indexed by a scalar or a list."""
    source, indices = need(node.inputs[0]), need(node.inputs[1])
    require(not is_weight(source) and len(shape_of(indices)) <= 1)
    form = tags.forms(source)[label]
    axis = node.attributes.get_int("axis", 0) % len(form.perm)
    require(form.inner[axis] is None)
    kept = [i for i in range(len(form.perm)) if i != axis or len(shape_of(indices)) == 1]
    expected = Form(tuple(kept.index(i) for i in form.perm if i in kept), tuple(form.inner[i] for i in kept))
    require(expected == outputs[0])
    needs = (form, None if is_weight(indices) else identity(len(shape_of(indices))))
    return Plan(needs, outputs, {"axis": form.stored_axis(axis)})


_Rule = Callable[[ir.Node, int, Tags, tuple[Form, ...]], Plan]
"""A rule gives the plan of a node that can run so; `need` and `require` end it where it cannot."""
_SPECIAL: dict[str, _Rule] = {
    "Transpose": _transpose,
    "Reshape": _reshape,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Gather": _gather,
}


def _special(node: ir.Node, label: int, tags: Tags, outputs: tuple[Form, ...]) -> Plan:
    return _SPECIAL[node.op_type](node, label, tags, outputs)


_RULES: dict[Kind, _Rule] = {
    Kind.ELEMENTWISE: _elementwise,
    Kind.SPATIAL: _spatial,
    Kind.AXIS_ATTRIBUTE: _axis_attribute,
    Kind.AXES_INPUT: _axes_input,
    Kind.PER_AXIS_INPUT: _per_axis_input,
    Kind.REDUCTION: _reduction,
    Kind.SPECIAL: _special,
    Kind.LOGICAL: _logical,
}
