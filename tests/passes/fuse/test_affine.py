"""Arithmetic by constants before and behind dense layers over the last axis: nothing but the layer is left."""

from __future__ import annotations

import numpy as np
import pytest

from narrowcast.passes.canonicalize import canonicalize
from narrowcast.passes.decompose import decompose
from tests.cases import OpCase, weights
from tests.passes.layout.physical_graphs import run

ROW = np.linspace(0.5, 2, 8, dtype=np.float32)


def dense(build, x, *, bias=False):
    y = build("MatMul", x, build.constant(weights(8, 5)))
    return build("Add", y, build.constant(ROW[:5])) if bias else y


def scaled(build, x):
    return build("Mul", x, build.constant(ROW))


def shifted(build, x, term=ROW):
    return build("Add", x, build.constant(term))


def normalised(build, x):
    return build("LayerNormalization", x, build.constant(ROW), build.constant(ROW), axis=-1)


def twice(build, x):
    y = shifted(build, x)
    return dense(build, y), build("Relu", y)


@pytest.mark.parametrize(
    ("build", "operators"),
    [
        (lambda b, x: dense(b, scaled(b, x)), "MatMul"),
        (lambda b, x: dense(b, shifted(b, x)), "MatMul Add"),
        (lambda b, x: dense(b, shifted(b, scaled(b, x)), bias=True), "MatMul Add"),
        (lambda b, x: dense(b, shifted(b, x, np.float32(3))), "MatMul Add"),
        (lambda b, x: dense(b, shifted(b, x, ROW[:3, None])), "Add MatMul"),
        (lambda b, x: dense(b, normalised(b, x), bias=True), "ReduceMean Sub Mul ReduceMean Add Sqrt Div MatMul Add"),
        (twice, "Add MatMul Relu"),
    ],
    ids=["scale", "shift", "both", "number", "another axis", "layer normalisation", "read twice"],
)
def test_dense_over_the_last_axis(build, operators):
    case = OpCase("dense", build, ((2, 3, 8),))
    model, feed = case.model(), case.feed()
    expected = run(model.ir, feed)
    canonicalize(model)
    decompose(model, "litert")
    assert [node.op_type for node in model.graph] == operators.split()
    for found, wanted in zip(run(model.ir, feed), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
