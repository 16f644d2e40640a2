"""`Site`: what the function that lowers an operator sees of its node, and the register of these functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from narrowcast._extras import modules_of
from narrowcast.dialect.build import constant_of
from narrowcast.errors import UnsupportedOpError
from narrowcast.model import Array, ir
from narrowcast.targets.groups import Group
from narrowcast.targets.spelling import dequantizer, is_weight, parameters_of
from narrowcast.writers.tflite.tables import Tensor, options

if TYPE_CHECKING:
    from narrowcast.writers.tflite.lowering import Lowering

__all__ = ["ACTIVATIONS", "LOWERINGS", "SQUARED", "Site", "load_operators", "lowers"]

LowerFunction = Callable[["Site"], None]
LOWERINGS: dict[tuple[str, str], LowerFunction] = {}
ACTIVATIONS = {"": "NONE", "Relu": "RELU", "Clip(-1,1)": "RELU_N1_TO_1", "Clip(0,6)": "RELU6"}
"""The schema's activations, in its order, by the canonical names of `targets.groups.activation_of`."""
SQUARED = "SQUARED_DIFFERENCE"
"""What a Mul is that carries its name: the operator takes the place of the Sub before it, too."""
_BOUNDS = {"Clip(-1,1)": 1.0, "Clip(0,6)": 6.0}


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

    modules_of(ops)


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
        """The fused activation as the schema counts it, 0 for none."""
        return list(ACTIVATIONS).index(self.reached(self.group.activation))

    def reached(self, activation: str) -> str:
        """What is left of a clip whose bound is beyond 32 bits in the output's scale: kernels refuse it."""
        steps = [parameters_of(use.node) for use in self.group.output.uses()] if self.integer else []
        if any(step is not None and _BOUNDS.get(activation, 0.0) >= 2.0**31 * step.scale for step in steps):
            return "Relu" if activation.startswith("Clip(0,") else ""
        return activation

    @property
    def wide(self) -> bool:
        """Whether it computes in 16-bit integers."""
        sources = [dequantizer(value) for value in self.node.inputs if not is_weight(value)]
        stored = [source.inputs[0] for source in sources if source is not None]
        return self.integer and any(value is not None and value.dtype is ir.DataType.INT16 for value in stored)

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
        return self.lowering.shape(self.value(index))

    def output_shape(self, index: int = 0) -> tuple[int, ...]:
        """The shape of an output of the node."""
        return self.lowering.shape(self.node.outputs[index])

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
        name = self.lowering.unique(f"{self.node.outputs[0].name}/{len(container.tensors)}")
        return container.tensor(Tensor(name, tuple(shape), model.dtype, 0, model.quantization))

    def temporary(self, shape: Sequence[int], dtype: np.dtype[Any]) -> int:
        """A tensor between two operators of one lowering, of a type of its own; -1 for an open dimension."""
        container = self.lowering.container
        name = self.lowering.unique(f"{self.node.outputs[0].name}/{len(container.tensors)}")
        return container.tensor(Tensor(name, tuple(shape), dtype))

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
        """Appends an operator with its options."""
        self.lowering.container.operator(name, inputs, outputs, options(kind, **values) if kind is not None else None)

    def custom(self, name: str, inputs: Sequence[int], outputs: Sequence[int], content: bytes) -> None:
        """Appends a custom operator with its options."""
        self.lowering.container.operator(name, inputs, outputs, content)

    def allow(self, *names: str) -> None:
        """Refuses attributes that the lowering does not know."""
        strange = sorted(set(self.node.attributes) - set(names))
        if strange:
            raise UnsupportedOpError(f"the attribute {', '.join(strange)} has no counterpart in TFLite")
