"""`narrowcast::LSTM` and `narrowcast::RNN` spelled as ONNX does, in the protocol buffer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np

from narrowcast.dialect.recurrent import GATES, STATES, directions_of
from narrowcast.model import NARROWCAST, Array

if TYPE_CHECKING:
    import onnx

__all__ = ["open_recurrent"]


def open_recurrent(graph: onnx.GraphProto, prefixes: Iterator[str]) -> None:
    """Puts ONNX's operators in the place of all of these in a graph; their values take one of `prefixes` each."""
    nodes = list(graph.node)
    del graph.node[:]
    for node in nodes:
        opens = node.domain == NARROWCAST and node.op_type in STATES
        graph.node.extend(_Opened(next(prefixes)).of(node) if opens else [node])


class _Opened:
    """The nodes that stand for one: its weights gathered, ONNX's operator, its output in the other order."""

    def __init__(self, prefix: str) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.names = (f"{prefix}{number}" for number in count())

    def of(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        """All that stand for a node."""
        from onnx import helper

        kind, y = node.op_type, next(self.names)
        given = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
        parts, hidden = directions_of(kind, list(node.input)), given["hidden_size"]
        zeros = self._constant(np.zeros(GATES[kind] * hidden, np.float32))
        inputs = [
            node.input[0],
            self._stacked([part.weights for part in parts]),
            self._stacked([part.recurrent for part in parts]),
            self._stacked([[*part.biases, zeros] for part in parts]),
            "",
            *(self._stacked([[part.states[index]] for part in parts]) for index in range(STATES[kind])),
            self._stacked([part.peepholes for part in parts]),
        ]
        while not inputs[-1]:
            inputs.pop()
        outputs = [y, "", node.output[1]] if len(node.output) > 1 else [y]
        functions = ["Sigmoid"] * (kind == "LSTM") + [given["activation"]] * STATES[kind]
        kept = {"hidden_size": hidden, "direction": given["direction"], "activations": functions * len(parts)}
        self.nodes.append(helper.make_node(kind, inputs, outputs, **kept))
        size = self._constant(np.array([0, 0, len(parts) * hidden]))
        self._add("Reshape", self._add("Transpose", y, perm=[0, 2, 1, 3]), size, name=node.output[0])
        return self.nodes

    def _add(self, op_type: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        from onnx import helper

        name = name or next(self.names)
        self.nodes.append(helper.make_node(op_type, inputs, [name], **attributes))
        return name

    def _constant(self, array: Array) -> str:
        from onnx import numpy_helper

        return self._add("Constant", value=numpy_helper.from_array(array))

    def _stacked(self, directions: Sequence[Sequence[str]]) -> str:
        """The parts of each direction below one another, and the directions along an axis before; "" of none."""
        if not all(parts and parts[0] for parts in directions):
            return ""
        axis = self._constant(np.array([0]))
        rows = [self._add("Concat", *parts, axis=0) for parts in directions]
        return self._add("Concat", *(self._add("Unsqueeze", row, axis) for row in rows), axis=0)
