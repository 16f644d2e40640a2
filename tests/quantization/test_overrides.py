"""Other storage for nodes of some names, and weights that were rounded elsewhere."""

from __future__ import annotations

import numpy as np
import pytest

from narrowcast import runtimes
from narrowcast.dialect.build import constant_of
from narrowcast.errors import DataError, UsageError
from narrowcast.quantization import IntegerWeights, quantize
from narrowcast.reference import Reference
from narrowcast.targets.decide import decide
from narrowcast.targets.groups import groups_of
from narrowcast.targets.litert import LITERT
from narrowcast.targets.rules import Storage
from narrowcast.targets.spelling import dequantizer
from narrowcast.writers.formats import write
from tests.cases import weights
from tests.quantization.test_quantize import feeds, network, nodes

WIDTH = 48
"""Wide enough for float schemes to store the weights smaller."""


def conv(build, x, name, seed):
    kernel = build.constant(weights(WIDTH, x.shape[1], 1, 1, seed=seed), f"{name}/kernel")
    return build("Conv", x, kernel, name=f"{name}/conv", shape=(1, WIDTH, 8, 8))


def body_and_head(build, x):
    body = build("Relu", conv(build, x, "body", 0), name="body/relu", shape=(1, WIDTH, 8, 8))
    joined = build("Concat", body, conv(build, x, "side", 1), axis=1, name="joined", shape=(1, 2 * WIDTH, 8, 8))
    pooled = build("MaxPool", joined, kernel_shape=[1, 1], name="head/pool", shape=(1, 2 * WIDTH, 8, 8))
    return build("Sigmoid", conv(build, pooled, "head", 2), name="head/score", shape=(1, WIDTH, 8, 8))


def types(model):
    """For each operator that the target could compute in integers: the type that it computes in, by its output."""
    found = {}
    for grouped in groups_of(model.graph, LITERT):
        verdict = decide(grouped, LITERT)
        if verdict.rule is not None:
            source = dequantizer(grouped.anchor.inputs[0])
            stored = source.inputs[0].dtype.numpy().name if source is not None else ""
            found[grouped.anchor.outputs[0].name] = stored if verdict.integer else "float32"
    return found


def decibels(want, got):
    return 10 * np.log10(np.square(want).mean() / max(np.square(want - got).mean(), 1e-30))


@pytest.mark.parametrize(
    ("scheme", "overrides", "read"),
    [
        ("int8", {"head/*": "float32"}, {"body/conv": "int8", "head/conv": "float32", "head/score": "float32"}),
        ("int8", {"head/*": "int16x8"}, {"body/conv": "int8", "head/conv": "int16", "head/pool": "int16"}),
        ("int16x8", {"body/*": "int8"}, {"body/conv": "int8", "side/conv": "int16", "joined": "int16"}),
        ("int8", {"*": "int16x8", "head/*": "int8"}, {"body/conv": "int16", "joined": "int16", "head/conv": "int8"}),
        ("dynamic_range", {"body/*": "int8"}, {"body/conv": "int8", "side/conv": "float32", "head/conv": "float32"}),
        ("int8", {"head/*": "dynamic_range"}, {"body/conv": "int8", "head/conv": "float32"}),
        ("int8", {"head": "dynamic_range"}, {"body/conv": "int8", "head/conv": "float32"}),
        ("int8", {"joined": "float32"}, {"body/conv": "int8", "joined": "float32", "head/conv": "int8"}),
        ("int8", {"head/*": Storage("int16", "int8", "int32", symmetric=True)}, {"head/conv": "int16"}),
    ],
)
def test_mixed_precision(scheme, overrides, read, tmp_path):
    """The types are those asked for, and LiteRT computes what the graph says."""
    model = network(body_and_head)
    quantised = quantize(model, scheme, LITERT, feeds=feeds(8), overrides=overrides)
    found = types(quantised)
    kernels = {node.outputs[0].name: node for node in nodes(quantised, "Conv")}
    assert {name: found[name] for name in read} == read
    feed = feeds(9)[-1]
    want, exact = (next(iter(Reference(m).run(feed).values())) for m in (quantised, model))
    assert decibels(exact, want) > 25
    write(quantised, tmp_path / "m.tflite", io_layout="source")
    got = next(iter(runtimes.open(tmp_path / "m.tflite", "litert").run(feed).values()))
    assert decibels(want, got) > 35
    if "dynamic_range" in (scheme, *overrides.values()):
        assert constant_of(kernels["head/conv"].inputs[1].producer().inputs[0]).dtype == np.int8


def test_a_layer_in_sixteen_bits_loses_less():
    model, feed = network(body_and_head), feeds(9)[-1]
    exact = next(iter(Reference(model).run(feed).values()))
    made = [quantize(model, "int8", LITERT, feeds=feeds(8), overrides=names) for names in ({}, {"*": "int16x8"})]
    coarse, fine = (decibels(exact, next(iter(Reference(m).run(feed).values()))) for m in made)
    assert fine > coarse + 5


def test_integer_inputs_feed_both_types():
    model = network(body_and_head)
    quantised = quantize(model, "full_int8", LITERT, feeds=feeds(8), overrides={"body/*": "int16x8"})
    assert [spec.dtype.name for spec in (*quantised.inputs, *quantised.outputs)] == ["int8", "int8"]
    assert types(quantised)["body/conv"] == "int16"
    assert types(quantised)["side/conv"] == "int8"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"tail/*": "float32"}, "no node is named like 'tail/\\*'"),
        ({"head/*": "int5"}, "unknown scheme 'int5'"),
        ({"head/*": Storage("int8", "float32")}, "int8 activations and float32 weights"),
    ],
)
def test_refusals(overrides, message):
    with pytest.raises(UsageError, match=message):
        quantize(network(body_and_head), "int8", LITERT, feeds=feeds(), overrides=overrides)


def test_ready_made_integers_are_stored_as_they_are():
    model = network(body_and_head)
    name = nodes(model, "Conv")[0].inputs[1].name
    shape = constant_of(nodes(model, "Conv")[0].inputs[1]).shape
    integers = np.random.default_rng(0).integers(-127, 128, shape).astype(np.int8)
    given = IntegerWeights(integers, np.full(len(integers), 0.01, np.float32))
    quantised = quantize(model, "int8", LITERT, feeds=feeds(), integer_weights={name: given})
    behind = nodes(quantised, "Conv")[0].inputs[1].producer()
    np.testing.assert_array_equal(constant_of(behind.inputs[0]), integers)
    np.testing.assert_array_equal(constant_of(behind.inputs[1]), given.scale)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"integers": np.zeros((3, 3), np.int8)}, DataError, "of shape \\(3, 3\\)"),
        ({"scale": np.zeros(1, np.float32)}, DataError, "does not fit"),
        ({"scale": np.ones(3, np.float32)}, DataError, "does not fit"),
        ({"name": "nobody"}, UsageError, "no integer group has weights named 'nobody'"),
    ],
)
def test_ready_made_integers_that_do_not_fit(change, error, message):
    model = network(body_and_head)
    value = nodes(model, "Conv")[0].inputs[1]
    options = {"integers": np.zeros(constant_of(value).shape, np.int8), "scale": np.ones(1, np.float32)} | change
    given = {options.pop("name", value.name): IntegerWeights(**options)}
    with pytest.raises(error, match=message):
        quantize(model, "int8", LITERT, feeds=feeds(), integer_weights=given)


@pytest.mark.parametrize(("overrides", "dequantized"), [({}, 1), ({"sum": "float32"}, 3)])
def test_a_node_between_integers_stays_in_float_in_the_file_too(overrides, dequantized, tmp_path):
    """What it reads and writes is quantised; a note on the node, kept through the layout, says that it is not."""

    def build(b, x):
        total = b("Add", conv(b, x, "one", 0), conv(b, x, "two", 1), name="sum", shape=(1, WIDTH, 8, 8))
        return conv(b, total, "head", 2)

    quantised = quantize(network(build), "int8", LITERT, feeds=feeds(8), overrides=overrides)
    write(quantised, tmp_path / "m.tflite")
    names, _ = runtimes.open(tmp_path / "m.tflite", "litert").operators()
    assert names["DEQUANTIZE"] == dequantized
