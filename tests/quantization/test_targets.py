"""A target's storage decides the types, zero points and biases; its page decides what is one operator."""

from __future__ import annotations

import numpy as np
import pytest

from narrowcast.dialect.build import constant_of
from narrowcast.errors import UsageError
from narrowcast.quantization import calibrate, quantize
from narrowcast.reference import Reference
from narrowcast.targets.rules import OpRule, Storage, Target
from tests.quantization.test_quantize import conv, feeds, network, nodes

RULES = {"Conv": OpRule(weights=(1, 0), bias=2, data=(0,)), "Add": OpRule()}
FUSES = {"Conv": frozenset({"Relu"})}


def target(storage, **more):
    return Target("one", title="One", storage={"int8": storage}, integers=RULES, **more)


def residual(build, x):
    first = build("Relu", conv(build, x, 4, bias=[0.5, -1, 2, 0]), shape=(1, 4, 8, 8))
    return build("Add", first, conv(build, x, 4, seed=1), shape=(1, 4, 8, 8))


@pytest.mark.parametrize(
    ("storage", "bias", "weights"),
    [
        (Storage("uint8", "int8", "int32"), np.int32, (-127, 127)),
        (Storage("int8", "int8", None, symmetric=True), None, (-127, 127)),
        (Storage("int8", "int8", None, symmetric=True, narrow=False), None, (-128, 127)),
        (Storage("int16", "int8", "int32", symmetric=True), np.int32, (-127, 127)),
    ],
)
def test_types_zero_points_and_biases(storage, bias, weights):
    model = network(residual)
    found = quantize(model, "int8", target(storage, fuses=FUSES), feeds=feeds())
    points = [constant_of(node.inputs[2]) for node in nodes(found, "QuantizeLinear")]
    assert {point.dtype.name for point in points} == {storage.activations}
    assert storage.symmetric == all(point == 0 for point in points)
    first = nodes(found, "Conv")[0]
    stored = constant_of(first.inputs[1].producer().inputs[0])
    assert stored.dtype == np.int8
    assert weights[0] <= stored.min()
    assert stored.max() <= weights[1]
    behind = first.inputs[2].producer()
    assert (None if behind is None else constant_of(behind.inputs[0]).dtype) == bias
    (add,) = nodes(found, "Add")
    assert [value.producer().op_type for value in add.inputs] == ["DequantizeLinear"] * 2
    want, got = (next(iter(Reference(m).run(feeds()[0]).values())) for m in (model, found))
    noise = np.square(want - got).mean() / np.square(want).mean()
    assert noise < (1e-3 if storage.activations == "int8" else 4e-4)


@pytest.mark.parametrize(("fuses", "after"), [(FUSES, "Relu"), ({}, "QuantizeLinear")])
def test_a_target_without_fusions_is_quantised_before_the_activation(fuses, after):
    rules = RULES | {"Relu": OpRule(data=(0,))}
    page = Target("one", storage={"int8": Storage("int8", "int8", "int32")}, integers=rules, fuses=fuses)
    found = quantize(network(residual), "int8", page, feeds=feeds())
    assert [use.node.op_type for use in nodes(found, "Conv")[0].outputs[0].uses()] == [after]


def test_ranges_of_a_target_serve_all_of_its_schemes():
    page = Target(
        "two",
        storage={"int8": Storage("uint8", "int8", "int32"), "int16x8": Storage("int16", "int8", "int32")},
        integers=RULES,
    )
    model = network(residual)
    ranges = calibrate(model, feeds(), page)
    for scheme in page.storage:
        assert quantize(model, scheme, page, ranges=ranges).scheme == scheme


def test_a_scheme_that_a_target_lacks():
    with pytest.raises(UsageError, match="One has no scheme float16"):
        quantize(network(residual), "float16", target(Storage("int8", "int8", "int32")))
