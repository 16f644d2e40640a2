"""Arithmetic by constants before and behind dense layers over the last axis: nothing but the layer is left."""

from __future__ import annotations

import numpy as np
import pytest

from narrowcast.passes.canonicalize import canonicalize
from narrowcast.passes.decompose import decompose
from tests.cases import OpCase, weights
from tests.passes.cases import Case, canonical, check
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


CASES = (
    Case(
        "batch normalisation behind a convolution",
        "(float[1,2,4,4] x) => (y) <float[3,2,3,3] w, float[3] b, float[3] g, float[3] c, float[3] m, float[3] v>"
        "{ k = Conv(x, w, b) y = BatchNormalization(k, g, c, m, v) }",
        "Conv",
    ),
    Case(
        "batch normalisation behind a transposed convolution",
        "(float[1,4,3,3] x) => (y) <float[4,2,2,2] w, float[4] g, float[4] c, float[4] m, float[4] v>"
        "{ k = ConvTranspose<group=2>(x, w) y = BatchNormalization(k, g, c, m, v) }",
        "ConvTranspose",
    ),
    Case(
        "batch normalisation alone",
        "(float[1,3,4,4] x) => (y) <float[3] g, float[3] c, float[3] m, float[3] v>"
        "{ t = Tanh(x) y = BatchNormalization(t, g, c, m, v) }",
        "Tanh Mul Add",
    ),
    Case(
        "all arithmetic behind a convolution",
        "(float[1,2,4,4] x) => (y) <float[3,2,3,3] w, float[3,1,1] a, float[1,3,1,1] b, float c={2}, float[3,1,1] d>"
        "{ k = Conv(x, w) l = Mul(k, a) m = Add(l, b) n = Div(m, c) y = Sub(d, n) }",
        "Conv",
    ),
    Case(
        "behind a dense layer over the last axis",
        "(float[2,3,4] x) => (y) <float[4,5] w, float[5] a, float[5] b>"
        "{ k = MatMul(x, w) l = Add(k, a) y = Mul(l, b) }",
        "MatMul Add",
    ),
    Case(
        "behind a dense layer",
        "(float[2,4] x) => (y) <float[4,5] w, float[5] a> { k = MatMul(x, w) y = Add(k, a) }",
        "Gemm",
    ),
    Case(
        "along another axis than the channels'",
        "(float[1,2,4,4] x) => (y) <float[3,2,3,3] w, float[2] a> { k = Conv(x, w) y = Mul(k, a) }",
        "Conv Mul",
    ),
    Case(
        "a factor before a padded convolution",
        "(float[1,2,4,4] x) => (y) <float[2,1,3,3] w, float[2,1,1] a>"
        "{ k = Mul(x, a) y = Conv<pads=[1, 1, 1, 1], group=2>(k, w) }",
        "Conv",
    ),
    Case(
        "a term before a padded convolution",
        "(float[1,2,4,4] x) => (y) <float[3,2,3,3] w, float[2,1,1] a>"
        "{ k = Add(x, a) y = Conv<pads=[1, 1, 1, 1]>(k, w) }",
        "Add Conv",
    ),
    Case(
        "a factor and a term before a convolution",
        "(float[1,2,4,4] x) => (y) <float[3,2,3,3] w, float[2,1,1] a, float[2,1,1] b>"
        "{ k = Mul(x, a) l = Add(k, b) y = Conv(l, w) }",
        "Conv",
    ),
    Case(
        "a term and a factor where no layer is near",
        "(float[1,2,4,4] x) => (y) <float[2,1,1] a, float[2,1,1] b> { k = Add(x, a) y = Mul(k, b) }",
        "Mul Add",
    ),
    Case(
        "two factors",
        "(float[1,2,4,4] x) => (y) <float a={2}, float[2,1,1] b={3, 4}> { k = Div(x, a) y = Mul(k, b) }",
        "Mul(B=[[[1.5]], [[2.0]]])",
    ),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case, canonical)
