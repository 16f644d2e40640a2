"""Networks of many nodes and networks of many bytes: work grows as the nodes, memory does not grow as the weights."""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

import narrowcast
from narrowcast import runtimes
from narrowcast.dialect.build import Builder
from narrowcast.errors import ModelFileError
from narrowcast.model import Model, ir
from narrowcast.passes.canonicalize import canonicalize
from narrowcast.passes.decompose import decompose
from narrowcast.passes.infer import infer_shapes
from narrowcast.passes.layout import lay_out
from narrowcast.passes.layout.cut import minimum_cut
from narrowcast.readers.onnx import parse
from narrowcast.targets.litert import LITERT
from narrowcast.writers.tflite import container
from narrowcast.writers.tflite.lowering import Lowering

WIDTH = 384
WEIGHT = 4 * WIDTH * WIDTH


def many_nodes(blocks: int) -> Model:
    """Residual blocks with batch normalisation, splits, channel shuffles and gates."""
    build = Builder.new("network")
    random = np.random.default_rng(0)
    x = build.input("x", (1, 8, 4, 4))

    def weights(*shape: int) -> ir.Value:
        return build.constant(random.normal(size=shape).astype(np.float32), "weights")

    for _ in range(blocks):
        y = build("Conv", x, weights(8, 8, 3, 3), pads=[1] * 4)
        statistics = [weights(8), weights(8), weights(8), build.constant(np.ones(8, np.float32))]
        y = build("Relu", build("BatchNormalization", y, *statistics))
        one, other = build("Split", y, build.constant(np.array([4, 4])), outputs=2, axis=1)
        y = build("Concat", build("Sigmoid", one), other, axis=1)
        y = build("Reshape", y, build.constant(np.array([1, 2, 4, 4, 4])))
        y = build("Reshape", build("Transpose", y, perm=[0, 2, 1, 3, 4]), build.constant(np.array([1, 8, 4, 4])))
        gate = build("Flatten", build("GlobalAveragePool", y), axis=1)
        gate = build("Unsqueeze", build("MatMul", gate, weights(8, 8)), build.constant(np.array([2, 3])))
        x = build("Add", x, build("Mul", y, gate))
    x.name, x.type, x.shape = "y", ir.TensorType(ir.DataType.FLOAT), ir.Shape([1, 8, 4, 4])
    return Model(build.finish([x]))


def calls(work: Callable[[], object]) -> int:
    """How many functions are called, Python's and those written in C."""
    count = 0

    def counting(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(counting)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


def convert(model: Model) -> None:
    infer_shapes(model)
    canonicalize(model)
    decompose(model, "litert")
    Lowering(lay_out(model, LITERT).model.graph).run()


def test_work_grows_as_the_nodes():
    convert(many_nodes(2))  # tables that are made once
    few, many = (calls(partial(convert, many_nodes(blocks))) for blocks in (10, 40))
    assert many < 4.2 * few


def test_the_cut_grows_as_the_network():
    """Layouts forced at every 20th node of a chain, far connections at every tenth."""

    def cut(size: int) -> int:
        random = np.random.default_rng(0)
        steps = [(node, node + 1) for node in range(2, size - 1)]
        far = [(node, int(random.integers(2, size))) for node in range(2, size, 10)]
        arcs = [(u, v, 50) for one, two in (*steps, *far) for u, v in ((one, two), (two, one))]
        forced = [(0, node, 70) if random.random() < 0.5 else (node, 1, 70) for node in range(2, size, 20)]
        return calls(partial(minimum_cut, size, arcs + forced, [0], [1]))

    assert cut(12_000) < 4 * 1.5 * cut(3_000)


def many_bytes(folder: Path, layers: int) -> Path:
    """Dense layers in both orders of weights and 1x1 convolutions with batch normalisation, weights in another file."""
    build = Builder.new("network")
    random = np.random.default_rng(0)
    x = build.input("x", (1, WIDTH))
    for index in range(layers):
        shape = (WIDTH, WIDTH, 1, 1) if index % 3 == 2 else (WIDTH, WIDTH)
        weights = build.constant((random.normal(size=shape) / WIDTH**0.5).astype(np.float32), f"w{index}")
        if index % 3 == 0:
            x = build("MatMul", x, weights)
        elif index % 3 == 1:
            x = build("Gemm", x, weights, build.constant(random.normal(size=WIDTH).astype(np.float32)), transB=1)
        else:
            x = build("Reshape", x, build.constant(np.array([1, WIDTH, 1, 1])))
            statistics = [random.uniform(0.5, 1, WIDTH).astype(np.float32) for _ in range(4)]
            x = build("BatchNormalization", build("Conv", x, weights), *map(build.constant, statistics))
            x = build("Flatten", x, axis=1)
    x.name, x.type, x.shape = "y", ir.TensorType(ir.DataType.FLOAT), ir.Shape([1, WIDTH])
    path = folder / "network.onnx"
    ir.save(build.finish([x]), path, external_data="network.weights", size_threshold_bytes=4096)
    return path


@pytest.fixture
def deferring(monkeypatch):
    """External data of any size stays in its file."""
    monkeypatch.setattr(parse, "LARGEST_IN_MEMORY", 0)


@pytest.fixture
def outside(monkeypatch):
    """Weights of more than 100 KB are too many for a flatbuffer."""
    made = container.Container.__init__
    monkeypatch.setattr(
        container.Container, "__init__", lambda self, **given: made(self, **{"largest_inline": 100_000, **given})
    )


def converted(source: Path, scheme: str, target: Path) -> bytes:
    model = narrowcast.load(source)
    narrowcast.save(
        model if scheme == "float32" else narrowcast.quantize(model, scheme), target, verify=scheme != "dynamic_range"
    )
    return target.read_bytes()


@pytest.mark.parametrize("scheme", ["float32", "float16", "dynamic_range"])
def test_deferred_weights_are_written_alike(scheme, tmp_path, monkeypatch):
    source = many_bytes(tmp_path, 4)
    at_once = converted(source, scheme, tmp_path / "at_once.tflite")
    monkeypatch.setattr(parse, "LARGEST_IN_MEMORY", 0)
    assert converted(source, scheme, tmp_path / "deferred.tflite") == at_once


@pytest.mark.parametrize("scheme", ["float32", "float16", "dynamic_range"])
@pytest.mark.usefixtures("deferring", "outside")
def test_weights_outside_of_the_flatbuffer(scheme, tmp_path):
    """LiteRT loads the file and computes what the source says."""
    source, target = many_bytes(tmp_path, 4), tmp_path / "m.tflite"
    data = converted(source, scheme, target)
    model = schema.Model.GetRootAs(data, 0)
    buffers = [model.Buffers(index) for index in range(model.BuffersLength())]
    large = [buffer for buffer in buffers if buffer.Size() >= WIDTH * WIDTH]
    assert len(large) == 4
    assert all(buffer.Offset() % 16 == 0 and buffer.DataLength() == 0 for buffer in large)
    feed = {"x": np.random.default_rng(1).normal(size=(1, WIDTH)).astype(np.float32)}
    wanted, found = runtimes.open(source, "onnxruntime").run(feed)["y"], runtimes.open(target, "litert").run(feed)["y"]
    noise = np.square(wanted - found).sum() / np.square(wanted).sum()
    assert noise < {"float32": 1e-10, "float16": 1e-5, "dynamic_range": 1e-3}[scheme]


@pytest.mark.parametrize("scheme", ["float32", "float16", "dynamic_range"])
@pytest.mark.usefixtures("deferring", "outside")
def test_memory_does_not_grow_as_the_weights(scheme, tmp_path, monkeypatch):
    """No more than a few of the tensors are in memory at once, however many there are."""
    monkeypatch.setattr("narrowcast.quantization.parameters.BLOCK", 4096)
    converted(many_bytes(tmp_path, 3), scheme, tmp_path / "first.tflite")  # imports

    def peak(layers: int) -> int:
        source = many_bytes(tmp_path, layers)
        tracemalloc.start()
        try:
            model = narrowcast.load(source)
            model = model if scheme == "float32" else narrowcast.quantize(model, scheme)
            narrowcast.save(model, tmp_path / "m.tflite", verify=False)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(24) < 5 * WEIGHT


@pytest.mark.usefixtures("deferring")
def test_weights_that_vanish(tmp_path):
    source = many_bytes(tmp_path, 3)
    model = narrowcast.load(source)
    (tmp_path / "network.weights").unlink()
    with pytest.raises(ModelFileError, match="cannot be read"):
        narrowcast.save(model, tmp_path / "m.tflite", verify=False)
    assert not list(tmp_path.glob("*.tflite*"))
