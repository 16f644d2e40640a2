"""Quantised networks in floats again: the same numbers but for the roundings, and the ranges that there were."""

from __future__ import annotations

import numpy as np
import pytest

import narrowcast
from narrowcast.dialect.build import Builder
from narrowcast.errors import UsageError
from narrowcast.model import Model, ir
from narrowcast.passes.canonicalize import canonicalize
from narrowcast.quantization import dequantize, recorded, scheme_of
from narrowcast.reference import Reference
from narrowcast.targets.groups import activation_of
from narrowcast.targets.litert import LITERT
from narrowcast.targets.spelling import Parameters, Speller

IN, OUT = Parameters(0.05, 10, "int8"), Parameters(0.04, -128, "int8")


def network(activation="", dtype="int8", integer_ports=True):
    """A convolution by weights of several scales, behind a Transpose of integers."""
    random = np.random.default_rng(0)
    build = Builder.new("net")
    speller = Speller(build.graph)
    before, after = (Parameters(p.scale, p.zero_point + (128 if dtype == "uint8" else 0), dtype) for p in (IN, OUT))
    shape, first = (1, 5, 5, 3), (1, 3, 5, 5)
    fed = build.input("x", shape, dtype if integer_ports else np.float32)
    stored = fed if integer_ports else speller.quantized(fed, before, "stored")
    moved = build("Transpose", stored, perm=[0, 3, 1, 2], shape=first, dtype=np.dtype(dtype), name="moved")
    scale = random.uniform(0.005, 0.02, 4).astype(np.float32)
    weights = speller.stored(ir.Tensor(random.integers(-127, 128, (4, 3, 1, 1)).astype(np.int8)), scale, 0, 0, "w")
    bias = ir.Tensor(random.integers(-900, 900, 4).astype(np.int32))
    y = build(
        "Conv",
        speller.dequantized(moved, before, "real"),
        weights,
        speller.stored(bias, scale * np.float32(IN.scale), 0, 0, "b"),
        kernel_shape=[1, 1],
        pads=[0, 0, 0, 0],
        strides=[1, 1],
        dilations=[1, 1],
        shape=(1, 4, 5, 5),
    )
    if activation:
        y = build(activation, y, shape=(1, 4, 5, 5))
    y = speller.quantized(y, after, "tensor")
    y = y if integer_ports else speller.dequantized(y, after, "y")
    model = Model(build.finish([y]))
    canonicalize(model)
    model.scheme = scheme_of(model)
    return model, before, after


@pytest.mark.parametrize("integer_ports", [True, False])
@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("activation", ["Relu", ""])
def test_the_numbers_are_those_that_the_integers_stand_for(activation, dtype, integer_ports):
    model, before, after = network(activation, dtype, integer_ports)
    made = dequantize(model)
    assert {node.op_type for node in made.graph} == {"Transpose", "Conv", "Relu"}, "where integers end at 0, they clip"
    assert {spec.dtype for spec in (*made.inputs, *made.outputs)} == {np.dtype(np.float32)}
    assert (made.scheme, made.unedited, made.read) == ("float32", model, model)
    info = np.iinfo(dtype)
    stored = np.random.default_rng(1).integers(info.min, info.max + 1, (1, 5, 5, 3)).astype(dtype)
    real = (stored.astype(np.float32) - before.zero_point) * np.float32(before.scale)
    (found,) = Reference(made).run({"x": real}).values()
    (wanted,) = Reference(model, optimize=False).run({"x": stored if integer_ports else real}).values()
    if integer_ports:
        wanted = (wanted.astype(np.float32) - after.zero_point) * np.float32(after.scale)
    within = found < 255 * after.scale
    assert within.mean() > 0.9
    np.testing.assert_allclose(found[within], wanted[within], atol=after.scale * 0.5001)
    assert model.inputs[0].dtype == (dtype if integer_ports else np.float32), "the source stays as it is"


@pytest.mark.parametrize(("scale", "kind"), [(6 / 255, "Clip"), (5.9 / 255, "Relu")])
def test_integers_that_end_at_6_are_a_relu6(scale, kind, monkeypatch):
    monkeypatch.setitem(globals(), "OUT", Parameters(scale, -128, "int8"))
    (made,) = [node for node in dequantize(network()[0]).graph if node.op_type in ("Relu", "Clip")]
    assert made.op_type == kind
    assert kind == "Relu" or activation_of(made) == "Clip(0,6)"


def test_the_ranges_are_those_of_the_types():
    made = dequantize(network("Relu", "uint8")[0])
    ((fed, low_high), (_, after)) = made.ranges.items()
    assert (fed, *np.float32(low_high)) == ("x", *np.float32([-138 * 0.05, (255 - 138) * 0.05]))
    np.testing.assert_allclose(after, (0, 255 * 0.04))


@pytest.mark.parametrize("scheme", ["int8", "int16x8"])
def test_recorded_ranges_quantise_again(scheme):
    made = dequantize(network("Relu", "uint8")[0])
    again = narrowcast.quantize(made, scheme)
    steps = {
        float(node.inputs[1].const_value.numpy()): node.inputs[2].const_value.numpy()
        for node in again.graph
        if node.op_type == "QuantizeLinear"
    }
    if scheme == "int8":
        assert set(steps) == {float(np.float32(0.05)), float(np.float32(0.04))}, "the scales are kept"
        assert sorted(int(zero) for zero in steps.values()) == [-128, 10], "and the zero points moved by 128"
    else:
        assert {zero.dtype.name for zero in steps.values()} == {"int16"}


def test_what_the_file_does_not_say_is_asked_for():
    made = dequantize(network()[0])
    made.ranges = {}
    with pytest.raises(UsageError, match="says no range of 3 activations"):
        recorded(made, LITERT, "int8")


def test_halves_become_floats():
    build = Builder.new("net")
    x = build.input("x", (2, 3))
    half = build.constant(np.array([[1.5, 2.5, 0.1]]), "w", np.float16)
    y = build("Add", x, build("Cast", half, to=1, shape=(1, 3), dtype=np.float32), shape=(2, 3))
    model = Model(build.finish([y]))
    canonicalize(model)
    model.scheme = scheme_of(model)
    assert model.scheme == "float16"
    (only,) = dequantize(model).graph.initializers.values()
    np.testing.assert_array_equal(only.const_value.numpy(), half.const_value.numpy().astype(np.float32))


@pytest.mark.parametrize(("model", "why"), [("float", "is not quantised"), ("made here", "was quantised here")])
def test_what_is_not_quantised_elsewhere_is_refused(model, why):
    made = dequantize(network()[0])
    made.edited = made.unedited = None
    with pytest.raises(UsageError, match=why):
        narrowcast.dequantize(made if model == "float" else narrowcast.quantize(made, "int8"))
