"""From a laid-out graph to tensors and operators: who is integer, which tensor is meant, what each becomes.

A node, with what the target fuses to it, computes in integers when all its float inputs come from DequantizeLinear, at
least one of them from an activation, and its output goes only into QuantizeLinear (docs/architecture.md, "Quantisation
has one spelling"). Its operator then reads and writes the integers themselves. Everywhere else QUANTIZE and DEQUANTIZE
operators stand between.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from narrowcast.dialect.build import constant_of, tensor_of
from narrowcast.errors import UnsupportedOpError, at
from narrowcast.model import Array, ir
from narrowcast.targets.decide import decide
from narrowcast.targets.groups import group
from narrowcast.targets.litert import LITERT
from narrowcast.targets.rules import Target, lacks
from narrowcast.targets.spelling import (
    axis_of,
    block_of,
    dequantizer,
    dequantizer_after,
    is_weight,
    noted_operator,
    parameters_of,
    quantizer_before,
    real_of,
    scales_of,
)
from narrowcast.writers.tflite.container import Container
from narrowcast.writers.tflite.elements import Elements
from narrowcast.writers.tflite.site import LOWERINGS, SQUARED, Site, load_operators
from narrowcast.writers.tflite.tables import TYPES, Quantization, Tensor

__all__ = ["Lowering"]


@dataclass(slots=True)
class Lowering:
    """Lowers one graph into a container."""

    graph: ir.Graph
    container: Container = field(default_factory=Container)
    notes: list[str] = field(default_factory=list)
    target: Target = LITERT
    _tensors: dict[ir.Value, int] = field(default_factory=dict)
    _constants: dict[tuple[Any, ...], int] = field(default_factory=dict)
    _direct: dict[ir.Value, ir.Node] = field(default_factory=dict)
    _names: Counter[str] = field(default_factory=Counter)

    def run(self) -> Container:
        """Lowers everything.

        Raises:
            UnsupportedOpError: names all operators for which there is no lowering.
        """
        load_operators()
        self._refuse_unknown()
        for value in self.graph.inputs:
            self.container.inputs.append((value.name or "", self.tensor(value)))
        done: set[ir.Node] = set()
        for node in self.graph:
            if node in done or (len(node.outputs) == 1 and is_weight(node.outputs[0])):
                continue
            if node.op_type == "Sub" and _is_squared(node):
                continue
            if node.op_type == "QuantizeLinear" and not node.domain:
                self._quantize(node)
            elif node.op_type == "DequantizeLinear" and not node.domain:
                continue
            else:
                done.update(self._lower(node))
        self._check_complete()
        for value in self.graph.outputs:
            self.container.outputs.append((value.name or "", self.floating(value)))
        return self.container

    def inner(self, graph: ir.Graph, name: str) -> tuple[int, Lowering]:
        """Lowers a graph within a node to one of its own; returns its index and what its values became."""
        index, container = self.container.graph(self.unique(name))
        made = Lowering(graph, container, self.notes, self.target)
        made.run()
        return index, made

    def _check_complete(self) -> None:
        """What is read is written: the target's operator may have fewer outputs than the node that it stands for."""
        made = {index for operator in self.container.operators for index in operator.outputs}
        made |= {index for _, index in self.container.inputs}
        for value, index in self._tensors.items():
            if index in made or self.container.tensors[index].buffer or not (value.uses() or value.is_graph_output()):
                continue
            node = value.producer()
            kind = f"{node.name or ''} ({node.op_type})" if node is not None else ""
            raise UnsupportedOpError(f"TFLite does not compute its output {value.name!r}", where=kind)

    def _refuse_unknown(self) -> None:
        known = {"QuantizeLinear", "DequantizeLinear"}
        unknown: Counter[str] = Counter()
        for node in self.graph:
            if (node.domain, node.op_type) not in LOWERINGS and node.op_type not in known:
                constant = len(node.outputs) == 1 and is_weight(node.outputs[0])
                unknown[node.op_type] += not constant
        named = [f"{name} ({count} times)" if count > 1 else name for name, count in sorted(unknown.items()) if count]
        if named:
            raise UnsupportedOpError(
                f"TFLite has no operator for: {', '.join(named)}",
                hint="docs/op-coverage.md lists what is covered; replace these in the model before the export",
            )

    def _lower(self, node: ir.Node) -> Sequence[ir.Node]:
        found = group(node, self.target)
        integer = decide(found, self.target).integer
        with at(f"{node.name or node.op_type} ({node.op_type})"):
            if why := lacks(node, self.target):
                raise UnsupportedOpError(f"{self.target.title} {why}", hint="docs/op-coverage.md lists what is covered")
            LOWERINGS[node.domain, node.op_type](Site(self, found, integer))
        return found.nodes

    def _quantize(self, node: ir.Node) -> None:
        """A QuantizeLinear whose producer could not write the integers itself."""
        output = node.outputs[0]
        if output in self._tensors:
            return
        source = node.inputs[0]
        assert source is not None
        before = dequantizer(source)
        direct = self._direct.get(source)
        if before is not None:
            index = self.integers(source)
            if parameters_of(before) == parameters_of(node) is not None and not output.is_graph_output():
                self._tensors[output] = index  # the same integers again
                return
        elif direct is not None:
            index = self._tensors[direct.outputs[0]]
        else:
            index = self.tensor(source)
        self.container.operator("QUANTIZE", [index], [self.tensor(output)])

    def stored(self, value: ir.Value) -> int | None:
        """The tensor that a value became, if it did."""
        return self._tensors.get(value)

    def tensor(self, value: ir.Value) -> int:
        """The tensor of an activation as it is stored."""
        if value not in self._tensors:
            self._tensors[value] = self.container.tensor(
                Tensor(self._name(value), self.shape(value), self._dtype(value), 0, self._quantization(value))
            )
        return self._tensors[value]

    def floating(self, value: ir.Value) -> int:
        """The tensor of a value as the graph means it: a DEQUANTIZE is put after integers."""
        if value in self._tensors:
            return self._tensors[value]
        if is_weight(value):
            return self.constant_value(value)
        node = dequantizer(value)
        if node is None:
            return self.tensor(value)
        source = node.inputs[0]
        assert source is not None
        index = self.tensor(value)
        self.container.operator("DEQUANTIZE", [self.tensor(source)], [index])
        return index

    def integers(self, value: ir.Value) -> int:
        """The integer tensor behind a DequantizeLinear."""
        node = dequantizer(value)
        assert node is not None
        source = node.inputs[0]
        assert source is not None
        return self.quantized_weights(value) if is_weight(value) else self.tensor(source)

    def constant(self, array: Array | Elements, name: str, quantization: Quantization | None = None) -> int:
        """A constant tensor; the same array asked for twice is one."""
        if array.dtype not in TYPES:
            raise UnsupportedOpError(f"TFLite has no tensors of type {array.dtype}", hint="cast it in the model")
        buffer = self.container.buffer(array)
        marks = (
            None
            if quantization is None
            else (
                quantization.scale.tobytes(),
                quantization.zero_point.tobytes(),
                quantization.axis,
                quantization.blocks,
            )
        )
        key = (buffer, array.shape, array.dtype.str, marks)
        if key not in self._constants:
            self._constants[key] = self.container.tensor(
                Tensor(self.unique(name), tuple(array.shape), array.dtype, buffer, quantization)
            )
        return self._constants[key]

    def ints(self, values: Sequence[int] | Array, name: str = "argument") -> int:
        """A constant of int32: axes, shapes, amounts."""
        array = np.asarray(values)
        if array.size and not -(2**31) <= int(array.min()) <= int(array.max()) < 2**31:
            raise UnsupportedOpError(f"its argument {array.tolist()} does not fit TFLite's 32 bits")
        return self.constant(array.astype(np.int32), name)

    def constant_value(self, value: ir.Value, perm: tuple[int, ...] | None = None) -> int:
        """The float tensor of a constant: float16 and integers come out of a DEQUANTIZE."""
        node = value.producer()
        if node is None:
            tensor = tensor_of(value)
            assert tensor is not None
            return self.constant(Elements(tensor, perm), value.name or "constant")
        source = node.inputs[0]
        stored = tensor_of(source)
        assert source is not None
        assert stored is not None
        if node.op_type == "Cast" and stored.dtype is ir.DataType.FLOAT16:
            index = self.constant(Elements(stored, perm), source.name or "constant")
        elif node.op_type == "Cast":
            cast = ir.Tensor(stored.numpy().astype(self._dtype(value)))
            return self.constant(Elements(cast, perm), value.name or "constant")
        elif block_of(node):
            array = real_of(node)
            if array is None:
                raise UnsupportedOpError(f"the scales of {value.name!r} do not fit its blocks")
            return self.constant(Elements(ir.Tensor(array), perm), value.name or "constant")
        elif stored.dtype is ir.DataType.INT32:
            number = ir.Tensor(self._dequantized(node, stored.numpy()))
            return self.constant(Elements(number, perm), value.name or "constant")
        else:
            index = self.quantized_weights(value, perm)
        shape = self.container.tensors[index].shape
        key = ("dequantized", index)
        if key not in self._constants:
            self._constants[key] = self.container.tensor(Tensor(self._name(value), shape, np.dtype(np.float32)))
            self.container.operator("DEQUANTIZE", [index], [self._constants[key]])
        return self._constants[key]

    def _dequantized(self, node: ir.Node, stored: Array) -> Array:
        """What a DequantizeLinear of a bias gives: LiteRT has no kernel for it."""
        scale, zero_point = self.parameters(node)
        along, axis = [1] * stored.ndim, axis_of(node)
        if axis is not None:
            along[axis] = -1
        number: Array = (stored - zero_point.reshape(along)) * scale.reshape(along)
        return number.astype(np.float32)

    def quantized_weights(
        self, value: ir.Value, perm: tuple[int, ...] | None = None, *, wide: bool = False, spread: int | None = None
    ) -> int:
        """The integer tensor of weights behind a DequantizeLinear, their axes permuted.

        `wide` makes a bias int64; one scale in all is repeated along the axis `spread`.
        """
        node = dequantizer(value)
        assert node is not None
        stored = tensor_of(node.inputs[0])
        assert stored is not None
        scale, zero_point = self.parameters(node)
        axis = axis_of(node)
        if block := block_of(node):
            scales = constant_of(node.inputs[1])
            assert scales is not None
            halves = ir.Tensor(scales.astype(np.float16))
            index = self.constant(Elements(halves, perm), f"{value.name}/scales")
            none = np.empty(0, np.float32)
            blocks = Quantization(none, none.astype(np.int64), 0, (index, block))
            return self.constant(Elements(stored, perm), value.name or "weights", blocks)
        if perm is not None and axis is not None:
            axis = perm.index(axis)
        if spread is not None and scale.size == 1:
            axis, count = spread, Elements(stored, perm).shape[spread]
            scale, zero_point = np.repeat(scale, count), np.repeat(zero_point, count)
        if wide:
            stored = ir.Tensor(stored.numpy().astype(np.int64))
        return self.constant(
            Elements(stored, perm), value.name or "weights", Quantization(scale, zero_point, axis or 0)
        )

    def parameters(self, node: ir.Node) -> tuple[Array, Array]:
        """Scale and zero point, of equal length, of a QuantizeLinear or DequantizeLinear."""
        found = scales_of(node)
        if found is None:
            raise UnsupportedOpError("its scale is not constant", hint="quantise with static parameters")
        return found

    def direct(self, output: ir.Value) -> int:
        """The integer tensor that a node writes in place of its float output."""
        quantizes = [use.node for use in output.uses()]
        self._direct[output] = quantizes[0]
        return self.tensor(quantizes[0].outputs[0])

    def _quantization(self, value: ir.Value) -> Quantization | None:
        if value.dtype is None or value.dtype.is_floating_point():
            return None
        node = quantizer_before(value) or dequantizer_after(value)
        if node is None:
            return None
        scale, zero_point = self.parameters(node)
        return Quantization(scale, zero_point)

    def _name(self, value: ir.Value) -> str:
        """Names are kept; integers are named as what they stand for."""
        node = value.producer()
        if node is not None and node.op_type == "QuantizeLinear" and not value.is_graph_output():
            source = node.inputs[0]
            if source is not None and source not in self._tensors:
                return self.unique(source.name or "")
        return self.unique(value.name or "")

    def unique(self, name: str) -> str:
        """The name, with a number behind where it is taken."""
        self._names[name] += 1
        return name if self._names[name] == 1 else f"{name}/{self._names[name]}"

    @staticmethod
    def shape(value: ir.Value) -> tuple[int, ...]:
        """The shape of a value, -1 for an open dimension."""
        if value.shape is None:
            raise UnsupportedOpError(
                f"the shape of {value.name!r} is unknown", hint="give the inputs' shapes: --input name:shape"
            )
        return tuple(dim if isinstance(dim, int) else -1 for dim in value.shape)

    @staticmethod
    def _dtype(value: ir.Value) -> np.dtype[Any]:
        dtype = value.dtype.numpy() if value.dtype is not None else np.dtype(np.float32)
        if dtype not in TYPES:
            raise UnsupportedOpError(
                f"{value.name!r} is {dtype}, which TFLite has no tensors of", hint="cast it in the model"
            )
        return dtype


def _is_squared(node: ir.Node) -> bool:
    """Whether a difference is read only by squares that one operator computes with it."""
    uses = [use.node for use in node.outputs[0].uses()]
    return bool(uses) and all(noted_operator(reader) == SQUARED for reader in uses)
