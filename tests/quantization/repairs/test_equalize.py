"""Equalised networks compute what they did, and lose less by one scale for a tensor."""

from __future__ import annotations

import numpy as np
import pytest

import narrowcast
from narrowcast import targets
from narrowcast.dialect.build import Builder
from narrowcast.evaluation.judge import Judge
from narrowcast.model import Model, ir
from narrowcast.passes.infer import infer_shapes
from narrowcast.quantization.repairs import Evidence, repaired
from narrowcast.reference import Reference

R = np.random.default_rng(0)
SPREAD = np.exp(R.normal(size=16) * 1.5)
"""How much wider one channel is than another."""


def feeds(count, seed=1):
    random = np.random.default_rng(seed)
    return [{"x": random.normal(size=(1, 3, 8, 8)).astype("f")} for _ in range(count)]


def network(activation, *, residual=False, last="Conv"):
    """A convolution whose output channels differ in range, a depthwise one that takes it back, and another."""
    build, spread = Builder.new("net"), SPREAD
    height = 2 if activation == "Clip" else 9

    def constant(array):
        return build.constant(array.astype("f"), "c")

    def active(value, name):
        if activation == "Clip":
            return build("Clip", value, constant(np.array(0)), constant(np.array(6)), name=name)
        return build(activation, value, name=name) if activation else value

    x = build.input("x", (1, 3, 8, 8))
    first = constant(R.normal(size=(16, 3, 1, 1)) * spread.reshape(-1, 1, 1, 1) / height)
    a = active(build("Conv", x, first, constant(R.normal(size=16) * spread / height), name="a"), "ra")
    b = active(
        build("Conv", a, constant(R.normal(size=(16, 1, 3, 3)) / spread.reshape(-1, 1, 1, 1)), name="b", group=16), "rb"
    )
    if residual:
        b = build(
            "Add", b, active(build("Conv", b, constant(R.normal(size=(16, 16, 1, 1)) / 4), name="r"), "rr"), name="sum"
        )
    if last == "Gemm":
        mean = build("ReduceMean", b, build.constant(np.array([2, 3]), "axes"), name="mean", keepdims=1)
        flat = build("Reshape", mean, build.constant(np.array([1, 16]), "shape"), name="flat")
        y = build("Gemm", flat, constant(R.normal(size=(5, 16))), constant(R.normal(size=5)), name="y", transB=1)
    else:
        pooled = build("MaxPool", b, name="pool", kernel_shape=[2, 2], strides=[2, 2])
        y = build("Conv", pooled, constant(R.normal(size=(5, 16, 1, 1))), name="y")
    model = Model(build.finish([y]))
    infer_shapes(model)
    return model


def evidence(model):
    return Evidence(model, targets.find("litert"), lambda count: feeds(32)[:count])


def ranges(model, index):
    weights = [node.inputs[1].const_value.numpy() for node in model.graph if node.op_type == "Conv"][index]
    rows = np.abs(weights).reshape(len(weights), -1).max(1)
    return rows.max() / rows.min()


@pytest.mark.parametrize("activation", ["", "Relu", "LeakyRelu"])
@pytest.mark.parametrize(("residual", "last"), [(False, "Conv"), (True, "Conv"), (False, "Gemm")])
def test_what_is_proportional_is_left_exactly_as_it_was(activation, residual, last):
    model = network(activation, residual=residual, last=last)
    made = repaired(model, "equalize", evidence(model))
    for feed in feeds(4, seed=2):
        np.testing.assert_allclose(
            Reference(made).run(feed)["y"], Reference(model).run(feed)["y"], rtol=1e-3, atol=1e-4
        )
    assert ranges(made, 1) < ranges(model, 1) / 3


def test_channels_that_reach_a_clip_keep_their_size():
    model = network("Clip")
    made = repaired(model, "equalize", evidence(model))
    seen = [Reference(model, ["ra"]).run(feed)["ra"].max(axis=(0, 2, 3)) for feed in feeds(32)]
    full = np.max(seen, axis=0) > 5.999
    before, after = (next(iter(m.graph)).inputs[1].const_value.numpy() for m in (model, made))
    assert full.any()
    assert not full.all()
    np.testing.assert_allclose(after[full], before[full], rtol=1e-6)
    judge = Judge(model, feeds(16, seed=2))
    assert judge.of(made).mean > 30  # others may be clipped a little sooner than before
    assert ranges(made, 1) < ranges(model, 1)


@pytest.mark.parametrize("activation", ["Relu", "Clip"])
def test_one_scale_for_a_tensor_loses_less(activation):
    model, data = network(activation), feeds(32)
    judge = Judge(model, feeds(16, seed=2))
    plain, made = (
        narrowcast.quantize(model, "int8", data=data, weights="per-tensor", repairs=repairs)
        for repairs in ([], ["equalize"])
    )
    assert judge.of(made).mean > judge.of(plain).mean + 3


def test_what_others_read_is_left_alone():
    build = Builder.new("seen")
    x = build.input("x", (1, 3, 8, 8))
    a = build("Conv", x, build.constant(R.normal(size=(4, 3, 1, 1)).astype("f"), "w"), name="a")
    b = build(
        "Conv", build("Sigmoid", a, name="s"), build.constant(R.normal(size=(2, 4, 1, 1)).astype("f"), "w"), name="b"
    )
    model = Model(build.finish([b, a]))
    infer_shapes(model)
    made = repaired(model, "equalize", evidence(model))
    for name, value in model.graph.initializers.items():
        np.testing.assert_array_equal(made.graph.initializers[name].const_value.numpy(), value.const_value.numpy())


@pytest.mark.parametrize(("made", "read"), [(0.0, 1e3), (1e3, 0.0)])
def test_channels_that_nobody_makes_or_reads_take_no_range_from_others(made, read):
    model = network("Relu")
    first, second, last = (node.inputs[1] for node in model.graph if node.op_type == "Conv")
    for value, factor, part in ((first, made, np.s_[0]), (second, read or 1.0, np.s_[0]), (last, read, np.s_[:, 0])):
        array = value.const_value.numpy().copy()
        array[part] *= factor
        value.const_value = ir.Tensor(array, name=value.name)
    if not made:
        bias = next(iter(model.graph)).inputs[2]
        bias.const_value = ir.Tensor(bias.const_value.numpy() * (np.arange(16) > 0).astype("f"), name=bias.name)
    better = repaired(model, "equalize", evidence(model))
    weights = [node.inputs[1].const_value.numpy() for node in better.graph if node.op_type == "Conv"]
    for array in weights[:2]:
        rows = np.abs(array).reshape(16, -1).max(1)
        assert rows[0] <= 1.5 * rows[1:].max()
    feed = feeds(1, seed=2)[0]
    np.testing.assert_allclose(Reference(better).run(feed)["y"], Reference(model).run(feed)["y"], rtol=1e-3, atol=1e-3)
