"""Every operator case as an ONNX file, in the oldest opset and the newest; what the opsets spell otherwise."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import version

import numpy as np
import onnx
import pytest

from narrowcast import runtimes, targets
from narrowcast.errors import UnsupportedOpError, UsageError
from narrowcast.evaluation.ports import feed_for, outputs_as_source
from narrowcast.model import Model, ir
from narrowcast.passes.canonicalize import canonicalize
from narrowcast.passes.decompose import decompose
from narrowcast.passes.infer import infer_shapes
from narrowcast.quantization import quantize
from narrowcast.reference import Reference
from narrowcast.targets.onnxruntime import ONNXRUNTIME
from narrowcast.writers import onnx as writer
from narrowcast.writers.formats import FORMATS, WriteOptions, write
from narrowcast.writers.onnx.older import respell
from tests.cases import CASES
from tests.passes.layout.physical_graphs import run

OPSETS = (17, 18, 20, 23)
FORMAT_OF = {row.target: row.name for row in reversed(FORMATS)}
RUNTIMES = {row.target: row.runtime for row in reversed(FORMATS)}


def parsed(text: str) -> Model:
    """A model of the canonical opset from ONNX's text form."""
    model = Model(ir.from_proto(onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 23]>\n{text}')))
    infer_shapes(model)
    return model


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_float(case, opset, tmp_path):
    model, feed = case.model(), case.feed()
    expected = run(model.ir, feed)
    canonicalize(model)
    write(model, tmp_path / "case.onnx", options=WriteOptions(opset))
    assert onnx.load(tmp_path / "case.onnx").opset_import[0].version == opset
    found = runtimes.open(tmp_path / "case.onnx", "onnxruntime").run(feed)
    for spec, want in zip(model.outputs, expected, strict=True):
        np.testing.assert_allclose(found[spec.name], want, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("target", [row.target for row in FORMATS if row.module == "narrowcast.writers.onnx"])
@pytest.mark.parametrize("scheme", ["float16", "int8", "full_int8"])
@pytest.mark.parametrize("case", [case for case in CASES if case.smooth], ids=lambda case: case.name)
def test_quantised(case, scheme, target, tmp_path):
    """ONNX Runtime with its fusions beside the graph without them: they round otherwise, by a step here or there."""
    model, page = case.model(), targets.find(target)
    canonicalize(model)
    decompose(model, page)
    feeds = [case.feed(seed) for seed in range(4)]
    if scheme not in page.storage:
        with pytest.raises(UsageError, match=f"{page.title} has no scheme {scheme}"):
            quantize(model, scheme, page, feeds=feeds)
        return
    quantized = replace(quantize(model, scheme, page, feeds=feeds), source=model)
    written = write(quantized, tmp_path / "case.onnx", fmt=FORMAT_OF[target])
    runner = runtimes.open(tmp_path / "case.onnx", RUNTIMES[target])
    wanted = Reference(quantized, optimize=False)
    for feed in feeds:
        stored = feed_for(written, feed)
        want = outputs_as_source(written.outputs, wanted.run(stored))
        have = outputs_as_source(written.outputs, runner.run(stored))
        for name, array in want.items():
            np.testing.assert_allclose(have[name], array, rtol=1e-4, atol=np.abs(array).max() / 60)


def test_a_dilated_average_stays_in_float(tmp_path):
    """ONNX Runtime 1.32 fuses its QDQ to an operator that knows no dilations, and then refuses the file."""
    attributes = "kernel_shape=[3,3], dilations=[2,2], strides=[1,1], pads=[0,0,0,0]"
    model = parsed(f"g (float[1,1,9,9] x) => (float[1,1,5,5] y) {{ z = Relu(x)\n y = AveragePool<{attributes}>(z) }}")
    feeds = [{"x": np.random.default_rng(0).normal(size=(1, 1, 9, 9)).astype(np.float32)}]
    quantized = quantize(model, "full_int8", ONNXRUNTIME, feeds=feeds)
    write(quantized, tmp_path / "x.onnx")
    runtimes.open(tmp_path / "x.onnx", "onnxruntime")


def test_a_file_names_its_maker_and_not_the_sources(tmp_path):
    model = parsed("g (float[4] x) => (float[4] y) { y = Relu(x) }")
    model.ir.producer_name, model.ir.producer_version = "pytorch", "2.13.0"
    write(model, tmp_path / "x.onnx")
    made = onnx.load(tmp_path / "x.onnx")
    assert (made.producer_name, made.producer_version) == ("narrowcast", version("narrowcast"))


OLDER = {
    "axes of a reduction": (
        17,
        "g (float[2,3,4] x) => (float[2,1,4] y) <int64[1] a = {1}> { y = ReduceMean<keepdims=1>(x, a) }",
        ("ReduceMean", {"axes": [1], "keepdims": 1}, 1),
    ),
    "a sum has its axes as an input since 13": (
        17,
        "g (float[2,3,4] x) => (float[2,1,4] y) <int64[1] a = {1}> { y = ReduceSum<keepdims=1>(x, a) }",
        ("ReduceSum", {"keepdims": 1}, 2),
    ),
    "the number of a split's outputs": (
        17,
        "g (float[2,4] x) => (float[2,2] y, float[2,2] z) { y, z = Split<axis=1, num_outputs=2>(x) }",
        ("Split", {"axis": 1}, 1),
    ),
    "names of sampling": (
        17,
        'g (float[1,1,4,4] x, float[1,2,2,2] p) => (float[1,1,2,2] y) { y = GridSample<mode="linear">(x, p) }',
        ("GridSample", {"mode": "bilinear"}, 2),
    ),
    "names of sampling since 20": (
        20,
        'g (float[1,1,4,4] x, float[1,2,2,2] p) => (float[1,1,2,2] y) { y = GridSample<mode="linear">(x, p) }',
        ("GridSample", {"mode": "linear"}, 2),
    ),
    "dilations of one": (
        18,
        "g (float[1,1,4,4] x) => (float[1,1,3,3] y) { y = AveragePool<kernel_shape=[2,2], dilations=[1,1]>(x) }",
        ("AveragePool", {"kernel_shape": [2, 2]}, 1),
    ),
    "saturation of a cast": (
        18,
        "g (float[4] x) => (int32[4] y) { y = Cast<to=6, saturate=1>(x) }",
        ("Cast", {"to": 6}, 1),
    ),
}


@pytest.mark.parametrize(("opset", "text", "expected"), OLDER.values(), ids=OLDER)
def test_older_spellings(opset, text, expected):
    model = parsed(text)
    respell(model.graph, opset)
    (node,) = model.graph
    spelled = {name: getattr(value, "value", value) for name, value in node.attributes.items()}
    spelled = {name: list(value) if isinstance(value, tuple | list) else value for name, value in spelled.items()}
    assert (node.op_type, spelled, len(node.inputs)) == expected


def test_what_an_opset_cannot_say_is_named():
    model = parsed(
        "g (float[1,1,9,9] x) => (float[1,1,5,5] y) { y = AveragePool<kernel_shape=[3,3], dilations=[2,2]>(x) }"
    )
    with pytest.raises(UnsupportedOpError, match="opset 17 has no dilations"):
        respell(model.graph, 17)


@pytest.mark.parametrize("opset", [16, 24])
def test_an_opset_that_is_not_written(opset, tmp_path):
    with pytest.raises(UsageError, match="is not written"):
        write(
            parsed("g (float[4] x) => (float[4] y) { y = Relu(x) }"), tmp_path / "x.onnx", options=WriteOptions(opset)
        )


def test_many_weights_lie_beside_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "LARGEST_INLINE", 4096)
    model = parsed("g (float[1,64] x) => (float[1,64] y) { w = Identity(x)\n y = Add(w, x) }")
    weights = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    graph = model.graph
    value = ir.Value(name="weights", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape([64, 64]))
    value.const_value = ir.LazyTensor(lambda: ir.Tensor(weights), ir.DataType.FLOAT, ir.Shape([64, 64]), name="weights")
    graph.register_initializer(value)
    node = graph[-1]
    node.op_type = "MatMul"
    node.replace_input_with(1, value)
    write(model, tmp_path / "x.onnx")
    assert (tmp_path / "x.onnx.data").stat().st_size >= weights.nbytes
    assert (tmp_path / "x.onnx").stat().st_size < 4096
    x = np.random.default_rng(1).normal(size=(1, 64)).astype(np.float32)
    np.testing.assert_allclose(
        runtimes.open(tmp_path / "x.onnx", "onnxruntime").run({"x": x})["y"], x @ weights, rtol=1e-4, atol=1e-5
    )
