"""Builds the graph in physical order from the chosen plans."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from narrowcast.dialect.build import attribute, constant_of, tensor_of
from narrowcast.dialect.deferred import derive
from narrowcast.model import OPSET, Array, ir
from narrowcast.passes.layout.forms import Form, identity
from narrowcast.passes.layout.rules import Plan
from narrowcast.passes.layout.tags import DYNAMIC, shape_of
from narrowcast.targets.spelling import block_of, dequantizer, hold_roundings, holds_roundings, is_weight, real_of

__all__ = ["PhysicalGraph"]


@dataclass(slots=True)
class PhysicalGraph:
    """Copies nodes of a canonical graph into a new one whose tensors are stored in given forms.

    Conversions are made once per tensor and form. A conversion of a value that a DequantizeLinear yields is made on its
    integers, so that quantised tensors stay quantised.
    """

    graph: ir.Graph
    names: set[str] = field(default_factory=set)
    counts: dict[str, int] = field(default_factory=dict)
    stored: dict[ir.Value, dict[Form, ir.Value]] = field(default_factory=dict)

    @classmethod
    def new(cls, source: ir.Graph) -> PhysicalGraph:
        """An empty one that may use any name that `source` does not."""
        opsets = {**source.opset_imports, "": OPSET}
        made = cls(ir.Graph([], [], nodes=[], opset_imports=opsets, name=source.name))
        if holds_roundings(source):
            hold_roundings(made.graph)
        made.names.update(value.name or "" for value in source.inputs)
        made.names.update(value.name or "" for value in source.outputs)
        made.names.update(node.name or "" for node in source)
        return made

    def input(self, value: ir.Value, form: Form) -> None:
        """Declares a graph input, stored in `form` under its own name."""
        new = ir.Value(name=value.name, type=value.type, shape=self._shape(value, form))
        self.graph.inputs.append(new)
        self.stored[value] = {form: new}

    def output(self, value: ir.Value, form: Form) -> None:
        """Declares a graph output, stored in `form` under its own name."""
        new = self.get(value, form)
        taken = any(new is other for other in self.graph.outputs)
        if new.is_graph_input() or new.is_initializer() or taken:
            new = self._node("Identity", [new], self._shape(value, form), value.type)
        if new.name != value.name:
            new.name = value.name
        self.graph.outputs.append(new)

    def node(self, node: ir.Node, plan: Plan) -> None:
        """Emits one node of the source graph as planned."""
        inputs: list[ir.Value | None] = []
        for index, value in enumerate(node.inputs):
            need = plan.needs[index] if index < len(plan.needs) else None
            if value is None:
                inputs.append(None)
            elif index in plan.arrays:
                inputs.append(self.constant(plan.arrays[index], value.name or "const"))
            else:
                inputs.append(self.get(value, need or identity(len(shape_of(value)))))
        yielded = [plan.yields or form for form in plan.outputs]
        if self._vanishes(node, plan, inputs, yielded):
            return
        attributes = {name: attribute for name, attribute in node.attributes.items() if name not in plan.attributes}
        changed = {name: value for name, value in plan.attributes.items() if value is not None}
        new = ir.Node(
            node.domain if plan.domain is None else plan.domain,
            node.op_type,
            inputs,
            [*attributes.values(), *(attribute(name, value) for name, value in changed.items())],
            num_outputs=len(node.outputs),
            name=node.name,
            metadata_props=dict(node.metadata_props),
        )
        self.graph.append(new)
        for old, value, form, wanted in zip(node.outputs, new.outputs, yielded, plan.outputs, strict=True):
            value.name = self.unique(old.name or node.op_type)
            value.type = old.type
            value.shape = self._shape(old, form)
            self.stored[old] = {form: value}
            if form != wanted:
                self.stored[old] = {wanted: self.get(old, wanted)}

    def _vanishes(self, node: ir.Node, plan: Plan, inputs: list[ir.Value | None], forms: Sequence[Form]) -> bool:
        """Handles nodes that only rename: transposes, reshapes, a quantisation of what was just dequantised."""
        source = inputs[0] if inputs else None
        if source is None or node.domain:
            return False
        new: ir.Value | None = None
        old = node.outputs[0]
        if node.op_type == "Transpose":
            perm = plan.attributes.get("perm") or node.attributes["perm"].as_ints()
            new = self.transpose(source, tuple(perm))
        elif node.op_type == "Reshape":
            new = self.reshape(source, self._shape(old, forms[0]))
        elif node.op_type == "QuantizeLinear":
            step = dequantizer(source)
            if step is not None and _same_scale(step, inputs):
                new = None if _only_moved(_first(step)) else step.inputs[0]
        if new is None:
            return False
        self.stored[old] = {forms[0]: new}
        return True

    def get(self, value: ir.Value, form: Form) -> ir.Value:
        """The new value that holds `value` in `form`, converted where it is not there yet."""
        forms = self.stored.setdefault(value, {})
        found = forms.get(form)
        if found is None:
            found = self._constant(value, form) if is_weight(value) else self._convert(value, form)
            forms[form] = found
        return found

    def constant(self, array: Array, hint: str) -> ir.Value:
        """A new initialiser."""
        return self._initializer(ir.Tensor(array), hint)

    def _initializer(self, tensor: ir.TensorProtocol, hint: str) -> ir.Value:
        name, shape = self.unique(hint), ir.Shape(tensor.shape.numpy())
        new = ir.Value(name=name, type=ir.TensorType(tensor.dtype), shape=shape, const_value=tensor)
        self.graph.register_initializer(new)
        return new

    def unique(self, hint: str) -> str:
        """A name that is free in the new graph."""
        name = hint
        while name in self.names:
            count = self.counts[hint] = self.counts.get(hint, 0) + 1
            name = f"{hint}_{count}"
        self.names.add(name)
        return name

    def transpose(self, value: ir.Value, perm: tuple[int, ...]) -> ir.Value:
        """Transposes; a chain of transposes becomes one, and one that moves no bytes a reshape, or nothing.

        No reshape says two open dimensions.
        """
        step, producer = dequantizer(value), value.producer()
        if step is not None and len(shape_of(value)) == len(perm):
            return self._requantized(step, self.transpose(_first(step), perm))
        if producer is not None and producer.op_type == "Transpose":
            inner = producer.attributes.get_ints("perm", ())
            return self.transpose(_first(producer), tuple(inner[axis] for axis in perm))
        if perm == tuple(range(len(perm))):
            return value
        dims = shape_of(value)
        moved = [axis for axis in perm if dims[axis] != 1]
        shape = ir.Shape([value.shape[axis] for axis in perm] if value.shape is not None else [])
        if moved == sorted(moved) and dims.count(DYNAMIC) < 2:
            return self.reshape(value, shape)
        return self._node("Transpose", [value], shape, value.type, perm=perm)

    def reshape(self, value: ir.Value, shape: ir.Shape) -> ir.Value:
        """Reshapes; a chain of reshapes becomes one, and one to the same shape nothing."""
        step, producer = dequantizer(value), value.producer()
        if step is not None:
            return self._requantized(step, self.reshape(_first(step), shape))
        if value.shape == shape:
            return value
        if producer is not None and producer.op_type == "Reshape":
            return self.reshape(_first(producer), shape)
        dims = [dim if isinstance(dim, int) else -1 for dim in shape]
        target = self.constant(np.array(dims, np.int64), f"{value.name}/shape")
        return self._node("Reshape", [value, target], shape, value.type)

    def _convert(self, value: ir.Value, form: Form) -> ir.Value:
        """Rearranges a computed value into `form`, by way of the logical order where atoms move inside an axis."""
        have, new = next(iter(self.stored[value].items()))
        if have.is_plain and form.is_plain:
            return self.transpose(new, tuple(have.perm.index(axis) for axis in form.perm))
        logical = shape_of(value)
        atoms = _atoms(logical, have, form)
        wanted = [(axis, i) for axis in form.perm for i in _order(atoms[axis], form.inner[axis])]
        present = [(axis, i) for axis in have.perm for i in _order(atoms[axis], have.inner[axis])]
        split = [atoms[axis][i] for axis, i in present]
        opened = self.reshape(new, ir.Shape([None if size == DYNAMIC else size for size in split]))
        moved = self.transpose(opened, tuple(present.index(key) for key in wanted))
        return self.reshape(moved, self._shape(value, form))

    def _constant(self, value: ir.Value, form: Form) -> ir.Value:
        """A constant in `form`, broadcast on the left to its rank; DequantizeLinear and Cast stay behind it."""
        producer = value.producer()
        if producer is None:
            tensor = tensor_of(value)
            assert tensor is not None
            if not form.is_identity:
                full = (1,) * (len(form.perm) - len(tensor.shape)) + tuple(tensor.shape.numpy())
                tensor = derive(
                    lambda array: form.apply(array.reshape(full)), tensor, shape=form.shape(full), dtype=tensor.dtype
                )
            return self._initializer(tensor, value.name or "const")
        source = producer.inputs[0]
        assert source is not None
        if block_of(producer) and not form.is_identity and (real := real_of(producer)) is not None:
            return self.constant(form.apply(real), value.name or "const")  # its blocks are none in another order
        inputs: list[ir.Value | None] = [self.get(source, form)]
        attributes = dict(producer.attributes)
        inputs.extend(
            None if extra is None else self.get(extra, identity(len(shape_of(extra)))) for extra in producer.inputs[1:]
        )
        if producer.op_type == "DequantizeLinear" and producer.inputs[1] is not None:
            inputs, attributes = self._per_axis(producer, form, inputs, attributes)
        noted = dict(producer.metadata_props)
        node = ir.Node("", producer.op_type, inputs, list(attributes.values()), num_outputs=1, metadata_props=noted)
        self.graph.append(node)
        new = node.outputs[0]
        new.name = self.unique(value.name or "const")
        node.name = self.unique(f"{new.name}/{producer.op_type}")
        new.type = value.type
        new.shape = inputs[0].shape if inputs[0] is not None else None
        return new

    def _per_axis(
        self, producer: ir.Node, form: Form, inputs: list[ir.Value | None], attributes: dict[str, ir.Attr]
    ) -> tuple[list[ir.Value | None], dict[str, ir.Attr]]:
        """Follows a per-axis scale through a permutation of the tensor that it belongs to."""
        scale = constant_of(producer.inputs[1])
        source = producer.inputs[0]
        if scale is None or scale.size == 1 or source is None:
            return inputs, attributes
        rank = len(shape_of(source))
        axis = producer.attributes.get_int("axis", 1) % rank + len(form.perm) - rank
        attributes = {**attributes, "axis": ir.AttrInt64("axis", form.stored_axis(axis))}
        if form.inner[axis] is None:
            return inputs, attributes
        vector = Form((0,), (form.inner[axis],))
        moved = [None if value is None else self.get(value, vector) for value in producer.inputs[1:]]
        return [inputs[0], *moved], attributes

    def _requantized(self, producer: ir.Node, integers: ir.Value) -> ir.Value:
        """A DequantizeLinear like `producer` on rearranged integers."""
        if integers is producer.inputs[0]:
            return producer.outputs[0]
        for use in integers.uses():
            if use.node.op_type == "DequantizeLinear" and use.node.inputs[1:] == producer.inputs[1:]:
                return use.node.outputs[0]
        old = producer.outputs[0]
        node = ir.Node("", "DequantizeLinear", [integers, *producer.inputs[1:]], num_outputs=1)
        self.graph.append(node)
        node.outputs[0].name = self.unique(old.name or "dequantized")
        node.name = self.unique(f"{node.outputs[0].name}/DequantizeLinear")
        node.outputs[0].type, node.outputs[0].shape = old.type, integers.shape
        return node.outputs[0]

    def _node(
        self,
        op_type: str,
        inputs: Sequence[ir.Value],
        shape: ir.Shape,
        type_: ir.TypeProtocol | None,
        **attributes: tuple[int, ...],
    ) -> ir.Value:
        kept = [attribute(name, value) for name, value in attributes.items()]
        new = ir.Node("", op_type, inputs, kept, num_outputs=1)
        self.graph.append(new)
        output = new.outputs[0]
        output.name = self.unique(f"{inputs[0].name}/{op_type.lower()}")
        new.name = self.unique(f"{output.name}/{op_type}")
        output.shape, output.type = shape, type_
        return output

    @staticmethod
    def _shape(value: ir.Value, form: Form) -> ir.Shape:
        return ir.Shape([] if value.shape is None else [value.shape[axis] for axis in form.perm])


def _first(node: ir.Node) -> ir.Value:
    value = node.inputs[0]
    assert value is not None
    return value


def _only_moved(value: ir.Value) -> bool:
    """Whether integers come from a graph input with nothing but moves between, so that no node says their scale."""
    node = value.producer()
    while node is not None and node.op_type in ("Transpose", "Reshape"):
        value = _first(node)
        node = value.producer()
    return value.is_graph_input()


def _same_scale(dequantize: ir.Node, inputs: Sequence[ir.Value | None]) -> bool:
    for one, other in zip(dequantize.inputs[1:], inputs[1:], strict=False):
        a, b = constant_of(one), constant_of(other)
        if a is None or b is None or a.dtype != b.dtype or a.size != 1 or a.reshape(()) != b.reshape(()):
            return False
    return len(dequantize.inputs) == len(inputs)


def _order(sizes: Sequence[int], inner: tuple[tuple[int, ...], tuple[int, ...]] | None) -> tuple[int, ...]:
    return tuple(range(len(sizes))) if inner is None else inner[1]


def _atoms(shape: Sequence[int], one: Form, other: Form) -> list[tuple[int, ...]]:
    """The atoms of each logical axis, as either form splits it."""
    atoms = []
    for axis, size in enumerate(shape):
        inner = one.inner[axis] or other.inner[axis]
        atoms.append((size,) if inner is None else inner[0])
        assert math.prod(atoms[-1]) == size
    return atoms
