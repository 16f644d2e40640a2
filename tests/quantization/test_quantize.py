"""Quantised graphs: their spelling, their rules, what they lose."""

from __future__ import annotations

import json

import numpy as np
import pytest

from narrowcast.dialect.build import Builder, constant_of
from narrowcast.errors import DataError, UsageError
from narrowcast.model import Model
from narrowcast.passes.canonicalize import canonicalize
from narrowcast.passes.decompose import decompose
from narrowcast.passes.infer import infer_shapes
from narrowcast.quantization import NOTES, SCHEMES, calibrate, quantize, scheme_named
from narrowcast.readers.formats import read
from narrowcast.reference import Reference
from narrowcast.targets.litert import LITERT
from tests.cases import weights


def network(build_rest, shape=(1, 3, 8, 8)) -> Model:
    build = Builder.new("network")
    x = build.input("x", shape)
    outputs = build_rest(build, x)
    model = Model(build.finish(outputs if isinstance(outputs, list) else [outputs]))
    infer_shapes(model)
    canonicalize(model)
    decompose(model, "litert")
    return model


def conv(build, x, out, seed=0, bias=None):
    kernel = build.constant(weights(out, x.shape[1] if x.shape is not None else 3, 1, 1, seed=seed))
    inputs = [x, kernel] + ([] if bias is None else [build.constant(np.asarray(bias, np.float32))])
    return build("Conv", *inputs, shape=(1, out, 8, 8))


def feeds(count=4, shape=(1, 3, 8, 8)):
    random = np.random.default_rng(0)
    return [{"x": random.normal(size=shape).astype(np.float32)} for _ in range(count)]


def nodes(model, op_type):
    return [node for node in model.graph if node.op_type == op_type]


def test_nothing_is_quantised_inside_a_fused_group():
    model = network(lambda b, x: b("Relu", conv(b, x, 4, bias=np.ones(4))))
    quantised = quantize(model, "int8", LITERT, feeds=feeds())
    (convolution,) = nodes(quantised, "Conv")
    assert [use.node.op_type for use in convolution.outputs[0].uses()] == ["Relu"]
    assert all(value.producer().op_type == "DequantizeLinear" for value in convolution.inputs)


def test_the_bias_has_the_scale_of_the_products():
    model = network(lambda b, x: conv(b, x, 4, bias=np.ones(4)))
    (convolution,) = nodes(quantize(model, "int8", LITERT, feeds=feeds()), "Conv")
    step, kernel, bias = (constant_of(value.producer().inputs[1]) for value in convolution.inputs)
    np.testing.assert_allclose(bias, step * kernel, rtol=1e-6)
    assert constant_of(convolution.inputs[2].producer().inputs[0]).dtype == np.int32


@pytest.mark.parametrize("scheme", ["int8", "int16x8"])
def test_a_huge_bias_on_a_dead_channel_fits(scheme):
    """Where |bias| > 2^30 s_in s_w, the weight's scale is raised, and the result stays right."""

    def build(b, x):
        kernel = weights(4, 3, 1, 1)
        kernel[2] = 1e-12
        return b("Conv", x, b.constant(kernel), b.constant(np.array([0.1, 0.2, 500.0, -0.3], np.float32)))

    model = network(build)
    quantised = quantize(model, scheme, LITERT, feeds=feeds())
    stored = constant_of(nodes(quantised, "Conv")[0].inputs[2].producer().inputs[0]).astype(np.int64)
    assert np.abs(stored).max() <= 2**30 + 1
    feed = feeds()[0]
    want, got = (next(iter(Reference(m).run(feed).values())) for m in (model, quantised))
    assert np.abs(got[:, 2] - want[:, 2]).max() < 3
    assert any("coarser weight scale" in note for note in json.loads(quantised.ir.metadata_props[NOTES]))


def test_concatenated_tensors_share_the_union_of_their_ranges():
    def build(b, x):
        wide = b("Mul", conv(b, x, 2, seed=1), b.constant(np.float32(9)), shape=(1, 2, 8, 8))
        return conv(b, b("Concat", conv(b, x, 2), wide, axis=1, shape=(1, 4, 8, 8)), 2, seed=2)

    model = network(build)
    quantised = quantize(model, "int8", LITERT, feeds=feeds())
    (concat,) = nodes(quantised, "Concat")
    scales = {float(constant_of(value.producer().inputs[1])) for value in concat.inputs}
    after = next(iter(concat.outputs[0].uses())).node
    assert scales == {float(constant_of(after.inputs[1]))}


def test_a_prescribed_scale_is_requantised_where_it_meets_others():
    """A Sigmoid's output has 1/256; concatenated with another tensor it takes the union's scale on that edge."""

    def build(b, x):
        joined = b("Concat", b("Sigmoid", conv(b, x, 2)), conv(b, x, 2, seed=1), axis=1, shape=(1, 4, 8, 8))
        return conv(b, joined, 2, seed=2)

    model = network(build)
    quantised = quantize(model, "int8", LITERT, feeds=feeds())
    (sigmoid,), (concat,) = nodes(quantised, "Sigmoid"), nodes(quantised, "Concat")
    after = next(iter(sigmoid.outputs[0].uses())).node
    assert float(constant_of(after.inputs[1])) == 1 / 256
    assert int(constant_of(after.inputs[2])) == -128
    assert len({float(constant_of(value.producer().inputs[1])) for value in concat.inputs}) == 1


def test_an_operator_without_an_integer_kernel_is_a_named_island():
    model = network(lambda b, x: conv(b, b("Exp", conv(b, x, 4), shape=(1, 4, 8, 8)), 2, seed=1))
    quantised = quantize(model, "int8", LITERT, feeds=feeds())
    (island,) = nodes(quantised, "Exp")
    assert island.inputs[0].producer().op_type == "DequantizeLinear"
    assert any("1 Exp" in note for note in json.loads(quantised.ir.metadata_props[NOTES]))


@pytest.mark.parametrize("io_type", ["int8", "uint8"])
def test_integer_ports(io_type):
    model = network(lambda b, x: conv(b, x, 4))
    quantised = quantize(model, "full_int8", LITERT, feeds=feeds(), io_type=io_type)
    assert [spec.dtype.name for spec in (*quantised.inputs, *quantised.outputs)] == [io_type, io_type]
    assert [spec.name for spec in quantised.inputs] == ["x"]


@pytest.mark.parametrize("io_type", ["int8", "uint8"])
def test_an_input_that_is_an_output_has_an_integer_port(io_type):
    model = network(lambda b, x: [conv(b, x, 4), b("Identity", x, name="same", shape=x.shape)])
    quantised = quantize(model, "full_int8", LITERT, feeds=feeds(), io_type=io_type)
    assert [(spec.name, spec.dtype.name) for spec in quantised.outputs][1] == ("same", io_type)


def test_the_source_is_left_alone_and_float_stays_float():
    model = network(lambda b, x: conv(b, x, 4))
    before = [node.name for node in model.graph]
    for scheme in SCHEMES:
        made = quantize(model, scheme, LITERT, feeds=feeds())
        assert made.scheme == scheme
    assert [node.name for node in model.graph] == before


def test_float16_keeps_what_does_not_fit():
    def build(b, x):
        kernel = weights(64, 3, 3, 3)
        kernel[0, 0, 0, 0] = 1e6
        return b("Conv", x, b.constant(kernel), pads=[1, 1, 1, 1])

    model = network(build)
    made = quantize(model, "float16", LITERT)
    assert not nodes(made, "Cast")
    assert any("stays float32" in note for note in json.loads(made.ir.metadata_props[NOTES]))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"scheme": "int5"}, UsageError, "unknown scheme 'int5'"),
        ({"scheme": "int8"}, UsageError, "needs calibration data"),
        ({"scheme": "int8", "feeds": []}, DataError, "no calibration samples"),
        (
            {"scheme": "int8", "feeds": feeds(shape=(1, 3, 7, 8))},
            DataError,
            "wants shape 1x3x8x8, the data has 1x3x7x8",
        ),
        ({"scheme": "int8", "feeds": [{"y": np.zeros(3)}]}, DataError, "no data for the input 'x'"),
        ({"scheme": "int8", "feeds": [{"x": np.full((1, 3, 8, 8), np.nan, np.float32)}]}, DataError, "NaN or infinite"),
        ({"scheme": "int8", "feeds": feeds(), "weights": "per-row"}, UsageError, "granularity"),
        ({"scheme": "int16x8", "feeds": feeds(), "io_type": "int8"}, UsageError, "float inputs and outputs"),
    ],
)
def test_refusals(options, error, message):
    model = network(lambda b, x: conv(b, x, 4))
    with pytest.raises(error, match=message):
        quantize(model, options.pop("scheme"), LITERT, **options)


def test_aliases():
    assert scheme_named("dynamic_wi8_afp32").name == "dynamic_range"
    assert scheme_named("static_wi8_ai8").name == "int8"


def test_open_bounds_see_what_looking_at_everything_sees():
    """The cheap graph for later samples finds the same ranges as ONNX Runtime's own tensors."""
    model = network(
        lambda b, x: b(
            "Add",
            b("Relu", conv(b, x, 4)),
            b("Clip", conv(b, x, 4, seed=1), b.constant(np.float32(0)), b.constant(np.float32(6))),
        )
    )
    data = feeds(12)
    found = calibrate(model, data, LITERT).ranges
    inner = Reference(model, list(found))
    for name, (low, high) in found.items():
        arrays = [np.asarray({**feed, **inner.run(feed)}[name]) for feed in data]
        assert (low, high) == pytest.approx((min(map(np.min, arrays)), max(map(np.max, arrays))), rel=1e-6)


@pytest.fixture(scope="module")
def mobilenet(zoo):
    model = read(zoo / "models/mobilenet_v2_keras2.h5")
    canonicalize(model)
    decompose(model, "litert")
    return model


@pytest.fixture(scope="module")
def photographs(zoo, mobilenet):
    from narrowcast.evaluation.data import open_data
    from narrowcast.evaluation.preprocessing import make_preprocessing

    how = make_preprocessing(preprocess="tf", crop=0.875)
    return list(open_data(zoo / "data/imagenet_even", mobilenet.inputs, how, samples=48).feeds())


@pytest.mark.parametrize(("granularity", "agrees"), [("per-channel", True), ("per-tensor", False)])
def test_per_tensor_weights_collapse_on_mobilenet_and_per_channel_ones_do_not(
    mobilenet, photographs, granularity, agrees
):
    quantised = quantize(mobilenet, "int8", LITERT, feeds=photographs[:32], weights=granularity)
    name = mobilenet.outputs[0].name
    before, after = Reference(mobilenet), Reference(quantised)
    same = [before.run(feed)[name].argmax() == after.run(feed)[name].argmax() for feed in photographs]
    assert (np.mean(same) > 0.85) == agrees
    assert (np.mean(same) < 0.4) != agrees


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (feeds(4), None),
        (feeds(1), None),
        (feeds(1) * 4, "all 4 calibration samples are equal"),
        ([{"x": np.zeros((1, 3, 8, 8), np.float32)}] * 3, "all 3 calibration samples are equal"),
        ([{"x": np.full((1, 3, 8, 8), 0.5, np.float32)}], "the input 'x' is 0.5 throughout"),
        (iter(feeds(1) * 4), "all 4 calibration samples are equal"),
    ],
)
def test_samples_without_spread_are_told_of(data, told):
    made = quantize(network(lambda b, x: conv(b, x, 4)), "int8", LITERT, feeds=data)
    notes = [note for note in json.loads(made.ir.metadata_props[NOTES]) if "check the data" in note]
    assert len(notes) == (told is not None)
    assert told is None or told in notes[0]
