"""Functions behind values: found as canonical graphs for LiteRT have them, and computed as ONNX Runtime does."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import narrowcast
from narrowcast import targets
from narrowcast.passes.prepare import adapt
from narrowcast.quantization.curves import function_behind
from narrowcast.reference import Reference

TEXT = """
<ir_version: 10, opset_import: ["" : 20]>
curves (float[1,1,1,301] x) => (float[1,1,1,{size}] y)
<float[1,1,1,1] w = {{1.0}}, float[1,1,1,1] other = {{2.0}}, float three = {{3.0}}>
{{
    v = Conv (x, w)
    {rest}
}}
"""
FOUND = {
    "SiLU": "s = Sigmoid (v) f = Mul (v, s)",
    "the same, turned": "s = Sigmoid (v) f = Mul (s, v)",
    "sigmoid": "f = Sigmoid (v)",
    "tanh": "f = Tanh (v)",
    "HardSwish": "f = HardSwish (v)",
    "Mish": "f = Mish (v)",
    "Gelu": "f = Gelu (v)",
    "Gelu by tanh": 'f = Gelu <approximate = "tanh"> (v)',
    "Elu": "f = Elu <alpha = 0.7> (v)",
    "LeakyRelu": "f = LeakyRelu <alpha = 0.1> (v)",
    "HardSigmoid": "f = HardSigmoid <alpha = 0.2, beta = 0.5> (v)",
    "Softplus": "f = Softplus (v)",
    "swish of a steeper sigmoid": "t = Mul (v, three) s = Sigmoid (t) f = Mul (v, s)",
}
NONE = {
    "a second reader": "s = Sigmoid (v) f0 = Mul (v, s) m = MaxPool <kernel_shape = [1, 3]> (v) "
    "q = MaxPool <kernel_shape = [1, 3]> (f0) f = Add (m, q)",
    "no function": "f = MaxPool <kernel_shape = [1, 3]> (v)",
    "a line": "t = Mul (v, three) f = MaxPool <kernel_shape = [1, 3]> (t)",
    "a gate of another tensor": "u = Conv (x, other) r = Relu (u) s = Sigmoid (r) t = Mul (v, s) "
    "f = MaxPool <kernel_shape = [1, 3]> (t)",
}


def adapted(rest, tmp_path, size=299):
    rest = rest.replace("f = Max", "y = Max") if "f = Max" in rest else f"{rest} y = Conv (f, w)"
    rest = rest.replace("f = Add", "y = Add")
    rest = rest.replace(" y = Conv (f, w)", "") if "y = Add" in rest else rest
    onnx.save(onnx.parser.parse_model(TEXT.format(rest=rest, size=size)), tmp_path / "m.onnx")
    model = narrowcast.load(tmp_path / "m.onnx")
    adapt(model, targets.find("litert"), keep_recurrent=True)
    return model


def convolved(model):
    return next(node for node in model.graph if node.op_type == "Conv").outputs[0]


@pytest.mark.parametrize("name", FOUND)
def test_a_function_is_found_and_computed(name, tmp_path):
    model = adapted(FOUND[name], tmp_path, 301)
    value = convolved(model)
    found = function_behind(value)
    assert found is not None
    x = np.linspace(-12, 12, 301).astype(np.float32)
    runs = Reference(model, [value.name, found.nodes[-1].outputs[0].name], optimize=False).run(
        {"x": x.reshape(1, 1, 1, -1)}
    )
    expected = runs[found.nodes[-1].outputs[0].name].reshape(-1)
    np.testing.assert_allclose(found(runs[value.name].reshape(-1)), expected, atol=2e-5)


@pytest.mark.parametrize("name", NONE)
def test_no_function_is_found_where_something_else_reads_the_value(name, tmp_path):
    assert function_behind(convolved(adapted(NONE[name], tmp_path))) is None


def test_an_output_of_the_network_is_behind_no_function(tmp_path):
    text = TEXT.format(rest="f = Sigmoid (v) y = Conv (f, w)", size=301).replace("=> (", "=> (float[1,1,1,301] v, ")
    onnx.save(onnx.parser.parse_model(text), tmp_path / "m.onnx")
    model = narrowcast.load(tmp_path / "m.onnx")
    assert function_behind(model.graph.outputs[0]) is None
