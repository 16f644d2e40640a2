"""From a laid-out graph to tensors and operators: who is integer, which tensor is meant, and what each operator becomes.

How quantisation is read (docs/architecture.md, "Quantisation has one spelling"): a node, with what the target fuses to it,
computes in integers when all its float inputs come from DequantizeLinear, at least one of them from an activation, and its
output goes only into QuantizeLinear. Its operator then reads and writes the integers themselves. Everywhere else
QUANTIZE and DEQUANTIZE operators stand between.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from narrowcast.dialect.build import constant_of
from narrowcast.errors import UnsupportedOpError, at
from narrowcast.model import CHANNELS_LAST, Array, ir
from narrowcast.targets.groups import Group, group
from narrowcast.targets.litert import LITERT
from narrowcast.writers.tflite.container import TYPES, Container, Operator, Quantization, Tensor, options
from narrowcast.writers.tflite.versions import version_of

__all__ = ["LOWERINGS", "Lowering", "Site", "lowers"]

LowerFunction = Callable[["Site"], None]
LOWERINGS: dict[tuple[str, str], LowerFunction] = {}


def lowers(*operators: str, domain: str = "") -> Callable[[LowerFunction], LowerFunction]:
    """Registers the function that lowers operators; a second registration of one raises."""

    def register(function: LowerFunction) -> LowerFunction:
        for name in operators:
            if (domain, name) in LOWERINGS:
                raise ValueError(f"{domain}::{name} is lowered twice")
            LOWERINGS[domain, name] = function
        return function

    return register


@cache
def load_operators() -> None:
    """Imports all modules of `ops`, so that they register what they lower."""
    from narrowcast.writers.tflite import ops

    for info in pkgutil.iter_modules(ops.__path__):
        importlib.import_module(f"{ops.__name__}.{info.name}")


def is_weight(value: ir.Value | None) -> bool:
    """Whether a value is an initialiser, or one behind a DequantizeLinear or Cast."""
    if value is None:
        return False
    node = value.producer()
    if node is not None:
        return node.op_type in ("DequantizeLinear", "Cast") and not node.domain and is_weight(node.inputs[0])
    return constant_of(value) is not None


def dequantizer(value: ir.Value | None) -> ir.Node | None:
    """The DequantizeLinear that a value comes from, or None."""
    node = value.producer() if value is not None else None
    return node if node is not None and node.op_type == "DequantizeLinear" and not node.domain else None


@dataclass(slots=True)
class Lowering:
    """Lowers one graph into a container."""

    graph: ir.Graph
    container: Container = field(default_factory=Container)
    notes: list[str] = field(default_factory=list)
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
            index = self.tensor(value)
            self.container.inputs.append(index)
            self.container.signature_inputs.append((value.name or "", index))
        done: set[ir.Node] = set()
        for node in self.graph:
            if node in done or (len(node.outputs) == 1 and is_weight(node.outputs[0])):
                continue
            if node.op_type == "QuantizeLinear" and not node.domain:
                self._quantize(node)
            elif node.op_type == "DequantizeLinear" and not node.domain:
                continue
            else:
                done.update(self._lower(node))
        for value in self.graph.outputs:
            index = self.floating(value)
            self.container.outputs.append(index)
            self.container.signature_outputs.append((value.name or "", index))
        return self.container

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
        found = group(node) if node.domain in ("", CHANNELS_LAST) and len(node.outputs) == 1 else _alone(node)
        integer = self._is_integer(found)
        with at(f"{node.name or node.op_type} ({node.op_type})"):
            LOWERINGS[node.domain, node.op_type](Site(self, found, integer))
        return found.nodes

    def _is_integer(self, found: Group) -> bool:
        """Whether a group computes in integers."""
        rule = LITERT.rules.get(found.anchor.op_type)
        if rule is None or not rule.int8:
            return False
        inputs = [value for node in found.nodes for value in node.inputs if value is not None]
        inside = {output for node in found.nodes for output in node.outputs}
        outer = [value for value in inputs if value not in inside and value.dtype is ir.DataType.FLOAT]
        activations = [value for value in outer if not is_weight(value)]
        if not activations or not all(dequantizer(value) is not None for value in activations):
            return False
        if not all(dequantizer(value) is not None for value in outer if not _bound_of(found, value)):
            return False
        for output in (found.output,) if len(found.anchor.outputs) == 1 else found.anchor.outputs:
            if output.dtype is not ir.DataType.FLOAT:
                continue
            uses = [use.node for use in output.uses()]
            if output.is_graph_output() or not uses or any(use.op_type != "QuantizeLinear" for use in uses):
                return False
        return True

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
        elif direct is not None:
            index = self._tensors[direct.outputs[0]]
        else:
            index = self.tensor(source)
        self.emit("QUANTIZE", [index], [self.tensor(output)], arithmetic=self.arithmetic_of(output))

    def arithmetic_of(self, value: ir.Value) -> str:
        """The column of the version table for a value's type."""
        names = {ir.DataType.INT16: "int16", ir.DataType.INT8: "int8", ir.DataType.UINT8: "int8"}
        return names.get(value.dtype, "float") if value.dtype is not None else "float"

    def tensor(self, value: ir.Value) -> int:
        """The tensor of an activation as it is stored."""
        if value not in self._tensors:
            self._tensors[value] = self.container.tensor(
                Tensor(self._name(value), self._shape(value), self._dtype(value), 0, self._quantization(value))
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
        self.emit("DEQUANTIZE", [self.tensor(source)], [index], arithmetic=self.arithmetic_of(source))
        return index

    def integers(self, value: ir.Value) -> int:
        """The integer tensor behind a DequantizeLinear."""
        node = dequantizer(value)
        assert node is not None
        source = node.inputs[0]
        assert source is not None
        return self.quantized_weights(value) if is_weight(value) else self.tensor(source)

    def constant(self, array: Array, name: str, quantization: Quantization | None = None) -> int:
        """A constant tensor; the same array asked for twice is one."""
        if array.dtype not in TYPES:
            raise UnsupportedOpError(f"TFLite has no tensors of type {array.dtype}", hint="cast it in the model")
        buffer = self.container.buffer(array)
        marks = (
            None
            if quantization is None
            else (quantization.scale.tobytes(), quantization.zero_point.tobytes(), quantization.axis)
        )
        key = (buffer, array.shape, array.dtype.str, marks)
        if key not in self._constants:
            self._constants[key] = self.container.tensor(
                Tensor(self._unique(name), tuple(array.shape), array.dtype, buffer, quantization)
            )
        return self._constants[key]

    def ints(self, values: Sequence[int] | Array, name: str = "argument") -> int:
        """A constant of int32: axes, shapes, amounts."""
        return self.constant(np.asarray(values, np.int32), name)

    def constant_value(self, value: ir.Value, perm: tuple[int, ...] | None = None) -> int:
        """The float tensor of a constant: float16 and integers come out of a DEQUANTIZE."""
        node = value.producer()
        if node is None:
            array = constant_of(value)
            assert array is not None
            return self.constant(_permuted(array, perm), value.name or "constant")
        source = node.inputs[0]
        stored = constant_of(source)
        assert source is not None
        if node.op_type == "Cast" and stored is not None and stored.dtype == np.float16:
            index = self.constant(_permuted(stored, perm), source.name or "constant")
        elif node.op_type == "Cast":
            array = constant_of(source)
            assert array is not None
            return self.constant(_permuted(array.astype(self._dtype(value)), perm), value.name or "constant")
        else:
            index = self.quantized_weights(value, perm)
        shape = self.container.tensors[index].shape
        key = ("dequantized", index)
        if key not in self._constants:
            self._constants[key] = self.container.tensor(Tensor(self._name(value), shape, np.dtype(np.float32)))
            half = node.op_type == "Cast"
            self.emit(
                "DEQUANTIZE", [index], [self._constants[key]], version=version_of("DEQUANTIZE", "int8", half=half)
            )
        return self._constants[key]

    def quantized_weights(self, value: ir.Value, perm: tuple[int, ...] | None = None, *, wide: bool = False) -> int:
        """The integer tensor of weights behind a DequantizeLinear, their axes permuted; `wide` makes a bias int64."""
        node = dequantizer(value)
        assert node is not None
        stored = constant_of(node.inputs[0])
        assert stored is not None
        scale, zero_point = self.parameters(node)
        axis = node.attributes.get_int("axis", 1) % max(stored.ndim, 1) if scale.size > 1 else 0
        if perm is not None and scale.size > 1:
            axis = perm.index(axis)
        array = _permuted(stored, perm)
        if wide:
            array = array.astype(np.int64)
        return self.constant(array, value.name or "weights", Quantization(scale, zero_point, axis))

    def parameters(self, node: ir.Node) -> tuple[Array, Array]:
        """Scale and zero point, of equal length, of a QuantizeLinear or DequantizeLinear."""
        scale = constant_of(node.inputs[1])
        if scale is None:
            raise UnsupportedOpError("its scale is not constant", hint="quantise with static parameters")
        zero_point = constant_of(node.inputs[2]) if len(node.inputs) > 2 else None
        if zero_point is None:
            zero_point = np.zeros(scale.size, np.int64)
        scale = scale.reshape(-1).astype(np.float32)
        return scale, np.broadcast_to(zero_point.reshape(-1).astype(np.int64), scale.shape).copy()

    def emit(
        self,
        name: str,
        inputs: Sequence[int],
        outputs: Sequence[int],
        options_: Any = None,
        *,
        arithmetic: str = "float",
        version: int | None = None,
    ) -> None:
        """Appends an operator."""
        number = version_of(name, arithmetic) if version is None else version
        self.container.operators.append(Operator(name, number, tuple(inputs), tuple(outputs), options_))

    def direct(self, output: ir.Value) -> int:
        """The integer tensor that a node writes in place of its float output."""
        quantizes = [use.node for use in output.uses()]
        self._direct[output] = quantizes[0]
        return self.tensor(quantizes[0].outputs[0])

    def _quantization(self, value: ir.Value) -> Quantization | None:
        if value.dtype is None or value.dtype.is_floating_point():
            return None
        node = _quantizer_before(value) or _dequantizer_after(value)
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
                return self._unique(source.name or "")
        return self._unique(value.name or "")

    def _unique(self, name: str) -> str:
        self._names[name] += 1
        return name if self._names[name] == 1 else f"{name}/{self._names[name]}"

    @staticmethod
    def _shape(value: ir.Value) -> tuple[int, ...]:
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


_MOVERS = ("Transpose", "Reshape", "Identity")
"""What the layout puts between quantised integers; they keep their scale."""


def _quantizer_before(value: ir.Value) -> ir.Node | None:
    """The QuantizeLinear that integers come from, through operators that only move them."""
    node = value.producer()
    while node is not None and node.op_type in _MOVERS and node.inputs[0] is not None:
        node = node.inputs[0].producer()
    return node if node is not None and node.op_type == "QuantizeLinear" else None


def _dequantizer_after(value: ir.Value) -> ir.Node | None:
    """A DequantizeLinear that integers go to, through operators that only move them."""
    pending = [value]
    while pending:
        for use in pending.pop().uses():
            if use.node.op_type == "DequantizeLinear":
                return use.node
            if use.node.op_type in _MOVERS:
                pending.append(use.node.outputs[0])
    producer = value.producer()
    if producer is not None and producer.op_type in _MOVERS and producer.inputs[0] is not None:
        return _dequantizer_after(producer.inputs[0])
    return None


def _alone(node: ir.Node) -> Group:
    return Group(node, None, "NONE", (node,), node.outputs[0])


_NUMBERS = {"Clip": 1, "Pad": 2, "Resize": 1}
"""From which input on an operator's constants stay numbers, whatever it computes in."""


def _bound_of(found: Group, value: ir.Value) -> bool:
    """Whether a value is a number that an operator takes as it is: a bound, a padding."""
    return any(node.op_type in _NUMBERS and value in node.inputs[_NUMBERS[node.op_type] :] for node in found.nodes)


def _permuted(array: Array, perm: tuple[int, ...] | None) -> Array:
    return array if perm is None else np.ascontiguousarray(array.transpose(perm))


@dataclass(frozen=True, slots=True)
class Site:
    """What a lowering function sees: one group of nodes, in floats or in integers."""

    lowering: Lowering
    group: Group
    integer: bool

    @property
    def node(self) -> ir.Node:
        """The node that does the work."""
        return self.group.anchor

    @property
    def activation(self) -> int:
        """The fused activation as the schema counts it."""
        names = ("NONE", "RELU", "RELU_N1_TO_1", "RELU6")
        return names.index(self.group.activation)

    @property
    def arithmetic(self) -> str:
        """The column of the version table."""
        if not self.integer:
            return self.lowering.arithmetic_of(self.node.inputs[0]) if self.has(0) else "float"  # type: ignore[arg-type]
        for value in self.node.inputs:
            source = dequantizer(value)
            if source is not None and not is_weight(value) and source.inputs[0] is not None:
                return self.lowering.arithmetic_of(source.inputs[0])
        return "int8"

    def value(self, index: int) -> ir.Value:
        """An input that must be there."""
        value = self.node.inputs[index] if index < len(self.node.inputs) else None
        if value is None:
            raise UnsupportedOpError(f"input {index} is missing", hint="the model is malformed; export it again")
        return value

    def has(self, index: int) -> bool:
        """Whether an optional input is there."""
        return index < len(self.node.inputs) and self.node.inputs[index] is not None

    def shape(self, index: int = 0) -> tuple[int, ...]:
        """The shape of an input, -1 for an open dimension."""
        return self.lowering._shape(self.value(index))

    def output_shape(self, index: int = 0) -> tuple[int, ...]:
        """The shape of an output of the node."""
        return self.lowering._shape(self.node.outputs[index])

    def input(self, index: int) -> int:
        """The tensor of an input, integer where the node is."""
        value = self.value(index)
        if self.integer and dequantizer(value) is not None:
            return self.lowering.integers(value)
        return self.lowering.floating(value)

    def output(self, index: int = 0) -> int:
        """The tensor of an output, integer where the node is and the output was float."""
        value = self.group.output if len(self.node.outputs) == 1 else self.node.outputs[index]
        if self.integer and value.dtype is ir.DataType.FLOAT:
            return self.lowering.direct(value)
        return self.lowering.tensor(value)

    def scratch(self, shape: Sequence[int], like: int) -> int:
        """A tensor between two operators of one lowering, of the type and scale of another."""
        container = self.lowering.container
        model = container.tensors[like]
        name = self.lowering._unique(f"{self.node.outputs[0].name}/{len(container.tensors)}")
        return container.tensor(Tensor(name, tuple(shape), model.dtype, 0, model.quantization))

    def array(self, index: int) -> Array:
        """A constant argument: axes, amounts, indices."""
        array = constant_of(self.value(index))
        if array is None:
            raise UnsupportedOpError(
                f"its argument {self.value(index).name!r} is computed at run time", hint="make it constant"
            )
        return array

    def ints(self, values: Sequence[int] | Array, name: str = "") -> int:
        """A constant int32 argument."""
        return self.lowering.ints(values, name or f"{self.node.outputs[0].name}/argument")

    def emit(
        self, name: str, inputs: Sequence[int], outputs: Sequence[int], kind: str | None = None, **values: Any
    ) -> None:
        """Appends an operator with its options; `arithmetic` and `version` override what the node computes in."""
        arithmetic = values.pop("arithmetic", self.arithmetic)
        version = values.pop("version", None)
        made = options(kind, values) if kind is not None else None
        self.lowering.emit(name, inputs, outputs, made, arithmetic=arithmetic, version=version)

    def allow(self, *names: str) -> None:
        """Refuses attributes that the lowering does not know."""
        strange = sorted(set(self.node.attributes) - set(names))
        if strange:
            raise UnsupportedOpError(f"the attribute {', '.join(strange)} has no counterpart in TFLite")
