"""What each operator needs and yields under a label: one small function per kind of operator.

A rule is asked with label 0 (channels first) or 1 (channels last), read as: "your outputs shall be stored in this form
of theirs". It answers with a `Plan`, or None where the operator cannot work that way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from narrowcast.dialect.build import constant_of
from narrowcast.dialect.ops import Kind, kind_of
from narrowcast.model import CHANNELS_LAST, Array, ir
from narrowcast.passes.layout.forms import Form, identity, signature
from narrowcast.passes.layout.tags import DYNAMIC, Tags, shape_of
from narrowcast.passes.rewrite import reduced_axes
from narrowcast.targets.rules import takes_last_axis
from narrowcast.targets.spelling import is_weight

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
    rule = _RULES[kind_of(node) or Kind.LOGICAL]
    found = rule(node, label, tags, outputs)
    if found is None and kind_of(node) is not Kind.SPATIAL:
        found = _logical(node, label, tags, outputs)
    return found


def bytes_of(value: ir.Value) -> int:
    """Size of a tensor; a dynamic dimension counts as 1."""
    size = 1
    for dim in shape_of(value):
        size *= 1 if dim == DYNAMIC else dim
    producer = value.producer()
    if producer is not None and producer.op_type == "DequantizeLinear" and producer.inputs[0] is not None:
        value = producer.inputs[0]
    return int(size * (value.dtype.itemsize if value.dtype is not None else 4))


def strides_of(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Row-major strides in elements."""
    strides = [1] * len(shape)
    for axis in range(len(shape) - 2, -1, -1):
        strides[axis] = strides[axis + 1] * shape[axis + 1]
    return tuple(strides)


def _logical(node: ir.Node, label: int, tags: Tags, outputs: tuple[Form, ...]) -> Plan | None:
    """Everything as the canonical graph says."""
    if not all(form.is_identity for form in outputs):
        return None
    needs = tuple(
        None if value is None or is_weight(value) else identity(len(shape_of(value))) for value in node.inputs
    )
    return Plan(needs, outputs)


def _elementwise(node: ir.Node, label: int, tags: Tags, outputs: tuple[Form, ...]) -> Plan | None:
    """All operands in the output's order; constants are permuted offline."""
    form = outputs[0]
    needs: list[Form | None] = []
    for value in node.inputs:
        need: Form | None = None
        if value is not None:
            shape = shape_of(value)
            if is_weight(value):
                need = form if max(shape, default=1) > 1 else None
            elif len(shape) == len(form.perm):
                need = form.broadcast(shape)
            elif form.is_identity or max(shape, default=1) == 1:
                need = identity(len(shape))
            else:
                return None
        needs.append(need)
    attributes: dict[str, Any] = {}
    if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
        per_axis = node.inputs[1] is not None and max(shape_of(node.inputs[1]), default=1) > 1
        axis = node.attributes.get_int("axis", 1) % max(len(form.perm), 1)
        if per_axis and form.inner[axis] is not None:
            return None
        if per_axis:
            attributes["axis"] = form.stored_axis(axis)
        needs[1:] = [None] * (len(needs) - 1)
    return Plan(tuple(needs), (form,), attributes)


def _spatial(node: ir.Node, label: int, tags: Tags, outputs: tuple[Form, ...]) -> Plan | None:
    """Channels last only."""
    source = node.inputs[0]
    assert source is not None
    rank = len(shape_of(source))
    form = Form((0, *range(2, rank), 1), (None,) * rank)
    if label == 0 or any(output != form for output in outputs):
        return None
    arrays: dict[int, Array] = {}
    if node.op_type == "Resize":
        for index in (2, 3):
            array = constant_of(node.inputs[index]) if len(node.inputs) > index else None
            if array is not None and array.size == rank:
                arrays[index] = np.ascontiguousarray(array[list(form.perm)])
        if node.attributes.get_ints("axes", ()):
            return None
    needs = (form, *(None for _ in node.inputs[1:]))
    return Plan(needs, outputs, arrays=arrays, domain=CHANNELS_LAST)


def _axis_attribute(node: ir.Node, label: int, tags: Tags, outputs: tuple[Form, ...]) -> Plan | None:
    """Concat, Split, Softmax and their kin: the axis is renamed."""
    form = outputs[0]
    rank = len(form.perm)
    default = {"Softmax": -1, "LogSoftmax": -1, "LpNormalization": -1, "Hardmax": -1}.get(node.op_type, 0)
    axis = node.attributes.get_int("axis", default) % rank
    stored = form.stored_axis(axis)
    if form.inner[axis] is not None or any(output != form for output in outputs):
        return None
    if takes_last_axis(node, tags.target) and stored != rank - 1:
        moved = Form((*(i for i in range(rank) if i != axis), axis), (None,) * rank)
        return Plan((moved,), outputs, {"axis": rank - 1}, yields=moved, cost=2 * bytes_of(node.outputs[0]))
    needs = tuple(
        None if value is None or len(shape_of(value)) != rank or (node.op_type == "Split" and index) else form
        for index, value in enumerate(node.inputs)
    )
    return Plan(needs, outputs, {"axis": stored})


def _axes_input(node: ir.Node, label: int, tags: Tags, outputs: tuple[Form, ...]) -> Plan | None:
    """Slice and CumSum: the axes in an input are renamed."""
    form = outputs[0]
    rank = len(form.perm)
    index = {"Slice": 3, "CumSum": 1}[node.op_type]
    axes = constant_of(node.inputs[index]) if len(node.inputs) > index else None
    if axes is None or any(form.inner[axis] is not None for axis in (axes % rank).reshape(-1).tolist()):
        return None
    renamed = np.array([form.stored_axis(int(axis) % rank) for axis in axes.reshape(-1)], axes.dtype).reshape(
        axes.shape
    )
    return Plan((form, *(None for _ in node.inputs[1:])), outputs, arrays={index: renamed})


def _per_axis_input(node: ir.Node, label: int, tags: Tags, outputs: tuple[Form, ...]) -> Plan | None:
    """Pad, Tile, Expand: the amounts are reordered."""
    form = outputs[0]
    rank = len(form.perm)
    source = node.inputs[0]
    assert source is not None
    amounts = constant_of(node.inputs[1])
    explicit_axes = len(node.inputs) > 3 and node.inputs[3] is not None
    if not form.is_plain or amounts is None or explicit_axes or len(shape_of(source)) != rank:
        return None
    if amounts.size not in (rank, 2 * rank):
        return None
    amounts = amounts.reshape(-1, rank)[:, list(form.perm)].reshape(-1)
    needs = (None if is_weight(source) else form, *(None for _ in node.inputs[1:]))
    return None if needs[0] is None else Plan(needs, outputs, arrays={1: amounts})


def _reduction(node: ir.Node, label: int, tags: Tags, outputs: tuple[Form, ...]) -> Plan | None:
    """Reductions: the axes are renamed; without `keepdims` the remaining axes must come out in the output's order."""
    source = node.inputs[0]
    assert source is not None
    if is_weight(source):
        return None
    form = tags.forms(source)[label]
    axes = reduced_axes(node)
    if axes is None:
        return None
    keepdims = node.attributes.get_int("keepdims", 1) != 0
    kept = [axis for axis in range(len(form.perm)) if keepdims or axis not in axes]
    stored = [kept.index(axis) for axis in form.perm if axis in kept]
    inner = tuple(None if axis in axes else form.inner[axis] for axis in kept)
    if any(form.inner[axis] is not None for axis in axes) and not node.op_type.startswith("Reduce"):
        return None
    if not _stores_alike(Form(tuple(stored), inner), outputs[0], shape_of(node.outputs[0])):
        return None
    renamed = sorted(form.stored_axis(axis) for axis in axes)
    if node.op_type.startswith("Arg"):
        return Plan((form,), outputs, {"axis": renamed[0]})
    if len(node.inputs) < 2 or node.inputs[1] is None:
        return Plan((form,), outputs) if len(axes) in (0, len(form.perm)) else None
    return Plan((form, None), outputs, arrays={1: np.array(renamed, np.int64)})


def _stores_alike(one: Form, other: Form, shape: tuple[int, ...]) -> bool:
    return one == other or (
        one.shape(shape) == other.shape(shape)
        and signature(shape, strides_of(shape), one) == signature(shape, strides_of(shape), other)
    )


def _transpose(node: ir.Node, label: int, tags: Tags, outputs: tuple[Form, ...]) -> Plan | None:
    """A Transpose renames axes; it moves bytes only where the stored orders differ."""
    source = node.inputs[0]
    assert source is not None
    if is_weight(source):
        return None
    before, after = tags.forms(source)[label], outputs[0]
    shape = shape_of(source)
    perm = node.attributes.get_ints("perm", tuple(reversed(range(len(shape)))))
    if any(after.inner[i] != before.inner[axis] for i, axis in enumerate(perm)):
        return None
    stored = tuple(before.perm.index(perm[axis]) for axis in after.perm)
    physical = before.shape(shape)
    moved = [axis for axis in stored if physical[axis] != 1]
    cost = 0 if moved == sorted(moved) else bytes_of(source)
    return Plan((before,), outputs, {"perm": stored}, cost=cost)


def _reshape(node: ir.Node, label: int, tags: Tags, outputs: tuple[Form, ...]) -> Plan | None:
    """A Reshape stays one where both sides hold their elements in the same order."""
    source, target = node.inputs[0], node.outputs[0]
    assert source is not None
    if is_weight(source):
        return None
    before, after = tags.forms(source)[label], outputs[0]
    inside, outside = shape_of(source), shape_of(target)
    if signature(inside, strides_of(inside), before) != signature(outside, strides_of(outside), after):
        return None
    shape = np.array([-1 if dim == DYNAMIC else dim for dim in after.shape(outside)], np.int64)
    return Plan((before, None), outputs, {"allowzero": None}, {1: shape})


def _gemm(node: ir.Node, label: int, tags: Tags, outputs: tuple[Form, ...]) -> Plan | None:
    """Features in any order: the weights [out, in] and the bias are permuted offline."""
    source, weights = node.inputs[0], node.inputs[1]
    assert source is not None
    assert weights is not None
    before, after = tags.forms(source)[label], outputs[0]
    if not is_weight(weights) or node.attributes.get_int("transB", 0) != 1 or node.attributes.get_int("transA", 0) != 0:
        return None
    if before.perm != (0, 1) or after.perm != (0, 1) or before.inner[0] or after.inner[0]:
        return None
    needs: list[Form | None] = [before, Form((0, 1), (after.inner[1], before.inner[1]))]
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        needs.append(after)
    return Plan(tuple(needs), outputs)


def _matmul(node: ir.Node, label: int, tags: Tags, outputs: tuple[Form, ...]) -> Plan | None:
    """A dense layer over the last axis; the axes before it may be in any order."""
    source, weights = node.inputs[0], node.inputs[1]
    assert source is not None
    assert weights is not None
    before, after = tags.forms(source)[label], outputs[0]
    rank = len(before.perm)
    if is_weight(source) or not is_weight(weights) or len(shape_of(weights)) != 2 or rank < 2:
        return None
    if before.perm != after.perm or before.perm[-1] != rank - 1 or before.inner[:-1] != after.inner[:-1]:
        return None
    return Plan((before, Form((0, 1), (before.inner[-1], after.inner[-1]))), outputs)


def _gather(node: ir.Node, label: int, tags: Tags, outputs: tuple[Form, ...]) -> Plan | None:
    """One axis is indexed by a scalar or a list."""
    source, indices = node.inputs[0], node.inputs[1]
    assert source is not None
    assert indices is not None
    if is_weight(source) or len(shape_of(indices)) > 1:
        return None
    form = tags.forms(source)[label]
    axis = node.attributes.get_int("axis", 0) % len(form.perm)
    if form.inner[axis] is not None:
        return None
    kept = [i for i in range(len(form.perm)) if i != axis or len(shape_of(indices)) == 1]
    expected = Form(tuple(kept.index(i) for i in form.perm if i in kept), tuple(form.inner[i] for i in kept))
    if expected != outputs[0]:
        return None
    needs = (form, None if is_weight(indices) else identity(len(shape_of(indices))))
    return Plan(needs, outputs, {"axis": form.stored_axis(axis)})


_Rule = Callable[[ir.Node, int, Tags, tuple[Form, ...]], Plan | None]
_SPECIAL: dict[str, _Rule] = {
    "Transpose": _transpose,
    "Reshape": _reshape,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Gather": _gather,
}


def _special(node: ir.Node, label: int, tags: Tags, outputs: tuple[Form, ...]) -> Plan | None:
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
