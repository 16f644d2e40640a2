"""The checks that follow every reader, whatever it read."""

from __future__ import annotations

import sys
from dataclasses import replace
from types import ModuleType

import numpy as np
import onnx
import pytest

from narrowcast.errors import NarrowcastError
from narrowcast.model import Model, ir
from narrowcast.readers import formats

X = "<ir_version: 10, opset_import: ['' : 23]>\ng (float[1, 3, 8, 8] x) => (float[1, 3, 8, 8] y)"


def of(body, declared=X):
    return ir.from_proto(onnx.parser.parse_model(f"{declared.replace(chr(39), chr(34))} {{ {body} }}"))


def with_weights(*values):
    model = of("w = Constant <value = float[3, 1, 1, 1] {1, 2, 3}> ()  y = Conv <group = 3> (x, w)")
    node = model.graph.node(0)
    weights = ir.Value(name="weights", const_value=ir.tensor(np.array(values, np.float32).reshape(3, 1, 1, 1)))
    model.graph.register_initializer(weights)
    node.outputs[0].replace_all_uses_with(weights)
    model.graph.remove(node)
    return model


def cyclic():
    model = of("a = Relu(x)  y = Abs(a)")
    relu, absolute = model.graph
    relu.replace_input_with(0, absolute.outputs[0])
    return model


def dangling():
    model = of("y = Relu(x)")
    model.graph.node(0).replace_input_with(0, ir.Value(name="nobody"))
    return model


@pytest.fixture
def read(tmp_path, monkeypatch):
    """Reads a graph by a reader that hands it out as it is."""

    def of_graph(graph):
        module = ModuleType("some_reader")
        module.read = lambda path, options: Model(graph)
        monkeypatch.setitem(sys.modules, "some_reader", module)
        row = replace(formats.named("tflite"), name="some", module="some_reader", hint="")
        monkeypatch.setattr(formats, "FORMATS", (row,))
        (tmp_path / "model").write_bytes(b"some")
        return formats.read(tmp_path / "model", fmt="some")

    return of_graph


def test_a_sound_graph_passes(read):
    assert len(read(with_weights(1, 2, 3)).graph) == 1


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (cyclic, "the graph has a cycle"),
        (dangling, "reads 'nobody', which is neither an input"),
        (lambda: with_weights(1, np.nan, 2), "holds NaN"),
        (lambda: with_weights(1, np.inf, 2), "holds infinity and is a weight"),
        (lambda: of("y = Frobnicate(x)"), "has no operator Frobnicate"),
        (lambda: of("y = Relu(x, x)"), "has 2 inputs, Relu takes 1 to 1"),
        (lambda: of("y = Relu <alpha = 1.0> (x)"), "has an attribute 'alpha'"),
        (lambda: of("y = DepthToSpace <blocksize = 0> (x)"), "its attribute 'blocksize' is 0, not 1 or more"),
    ],
)
def test_what_no_reader_may_hand_out(make, reason, read):
    with pytest.raises(NarrowcastError, match=reason) as caught:
        read(make())
    assert caught.value.where
