"""What a network makes of a tensor, value by value, before anything else sees it: SiLU, Mish, a hard swish, a sigmoid.

An error of the tensor matters only by what is left of it behind that function, so that its range is chosen there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from narrowcast.dialect.build import constant_of, scalar_of
from narrowcast.model import Array, ir
from narrowcast.passes.fuse.clip import bounds_of

__all__ = ["Function", "function_behind"]

LONGEST = 24
"""Nodes of a function; an error function spelled out has 20."""


def _sigmoid(x: Array) -> Array:
    found: Array = 0.5 + 0.5 * np.tanh(0.5 * x)
    return found


def _gelu(node: ir.Node, x: Array) -> Array:
    if node.attributes.get_string("approximate", "none") == "tanh":
        bell = np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))
    else:
        bell = _erf(x * math.sqrt(0.5))
    found: Array = 0.5 * x * (1 + bell)
    return found


def _erf(x: Array) -> Array:
    found: Array = np.vectorize(math.erf, otypes=[np.float64])(x)
    return found


def _line(node: ir.Node, x: Array) -> Array:
    alpha, beta = node.attributes.get_float("alpha", 0.2), node.attributes.get_float("beta", 0.5)
    found: Array = np.clip(alpha * x + beta, 0, 1)
    return found


def _clip(node: ir.Node, x: Array) -> Array:
    found: Array = np.clip(x, *(bounds_of(node) or (-np.inf, np.inf)))
    return found


_LINEAR: Mapping[str, Callable[..., Array]] = {
    "Add": lambda node, x, y: x + y,
    "Sub": lambda node, x, y: x - y,
    "Mul": lambda node, x, y: x * y,
    "Div": lambda node, x, y: x / y,
    "Neg": lambda node, x: -x,
    **dict.fromkeys(("Identity", "Reshape", "Transpose", "Squeeze", "Unsqueeze"), lambda node, x, *how: x),
}
"""By operator: what a node makes of its operands; of these, of constants and one tensor, a line."""
_CURVED: Mapping[str, Callable[..., Array]] = {
    "Abs": lambda node, x: np.abs(x),
    "Clip": lambda node, x, *bounds: _clip(node, x),
    "Elu": lambda node, x: np.where(x > 0, x, node.attributes.get_float("alpha", 1.0) * np.expm1(np.minimum(x, 0))),
    "Erf": lambda node, x: _erf(x),
    "Exp": lambda node, x: np.exp(np.minimum(x, 80)),
    "Gelu": _gelu,
    "HardSigmoid": _line,
    "HardSwish": lambda node, x: x * np.clip(x / 6 + 0.5, 0, 1),
    "LeakyRelu": lambda node, x: np.where(x > 0, x, node.attributes.get_float("alpha", 0.01) * x),
    "Log": lambda node, x: np.log(np.maximum(x, 1e-30)),
    "Max": lambda node, x, y: np.maximum(x, y),
    "Min": lambda node, x, y: np.minimum(x, y),
    "Mish": lambda node, x: x * np.tanh(np.logaddexp(0, x)),
    "Relu": lambda node, x: np.maximum(x, 0),
    "Sigmoid": lambda node, x: _sigmoid(x),
    "Sign": lambda node, x: np.sign(x),
    "Softplus": lambda node, x: np.logaddexp(0, x),
    "Tanh": lambda node, x: np.tanh(x),
}
_KNOWN = {**_LINEAR, **_CURVED}


@dataclass(frozen=True, slots=True)
class Function:
    """Elementwise nodes from one value to another.

    Attributes:
        source: the value that all is computed of.
        nodes: in order; the last one gives the result.
    """

    source: ir.Value
    nodes: Sequence[ir.Node]

    @property
    def operators(self) -> tuple[str, ...]:
        """The names of the nodes' operators."""
        return tuple(node.op_type for node in self.nodes)

    def __call__(self, values: Array) -> Array:
        """The function of floats of any shape, in float64."""
        found: dict[ir.Value | None, Array | float | None] = {self.source: values.astype(np.float64)}
        for node in self.nodes:
            operands = [found[value] if value in found else scalar_of(value) for value in node.inputs]
            found[node.outputs[0]] = _KNOWN[node.op_type](node, *operands)
        result = found[self.nodes[-1].outputs[0]]
        assert isinstance(result, np.ndarray)
        return result


def function_behind(value: ir.Value) -> Function | None:
    """The shortest function after which nothing reads the value itself; None for a line, and where there is none."""
    nodes: dict[ir.Node, None] = {}
    inside = {value: None}
    while len(nodes) < LONGEST:
        unread = [
            found for found in inside if found.is_graph_output() or any(u.node not in nodes for u in found.uses())
        ]
        if len(unread) == 1 and unread[0] is not value and any(node.op_type in _CURVED for node in nodes):
            return Function(value, tuple(nodes))
        readers = (use.node for found in unread for use in found.uses() if use.node not in nodes)
        following = next((node for node in readers if _is_elementwise(node, inside)), None)
        if following is None:
            return None
        nodes[following] = None
        inside[following.outputs[0]] = None
    return None


def _is_read(value: ir.Value, nodes: Mapping[ir.Node, None]) -> bool:
    """Whether a value is read by others than some nodes."""
    return value.is_graph_output() or any(use.node not in nodes for use in value.uses())


def _is_elementwise(node: ir.Node, inside: Mapping[ir.Value, None]) -> bool:
    """Whether a node makes each of its numbers of one number of each tensor inside, and of nothing else."""
    if node.domain or node.op_type not in _KNOWN or len(node.outputs) != 1:
        return False
    moves = _KNOWN[node.op_type] is _KNOWN["Identity"]
    others = [value for value in node.inputs if value is not None and value not in inside]
    if node.inputs[0] is None or (moves and node.inputs[0] not in inside):
        return False
    return moves or all(_is_number(value) for value in others)


def _is_number(value: ir.Value) -> bool:
    return constant_of(value) is not None and scalar_of(value) is not None
