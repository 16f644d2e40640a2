"""Activations by operators that the target has."""

from __future__ import annotations

import pytest

from tests.passes.cases import Case, check, decomposed

CASES = (
    Case("mish", "(float[2,3] x) => (y) { y = Mish(x) }", "Relu Abs Neg Exp Add Log Add Tanh Mul"),
    Case("softplus", "(float[2,3] x) => (y) { y = Softplus(x) }", "Relu Abs Neg Exp Add Log Add"),
    Case("softsign", "(float[2,3] x) => (y) { y = Softsign(x) }", "Abs Add Div"),
    Case("selu", "(float[2,3] x) => (y) { y = Selu(x) }", "Relu Clip Elu Mul Add Mul"),
    Case("celu of another alpha", "(float[2,3] x) => (y) { y = Celu<alpha=2.0>(x) }", "Relu Clip Mul Elu Mul Add"),
    Case(
        "hard sigmoid",
        "(float[2,3] x) => (y) { y = HardSigmoid<alpha=0.5, beta=0.25>(x) }",
        "Mul(B=0.5) Add(B=0.25) Clip(min=0.0, max=1.0)",
    ),
    Case("thresholded", "(float[2,3] x) => (y) { y = ThresholdedRelu(x) }", "Greater Where"),
    Case("shrink", "(float[2,3] x) => (y) { y = Shrink<lambd=0.5, bias=0.25>(x) }", "Greater Less Add*2 Where*2"),
    Case("one divided", "(float[2,3] x) => (y) { y = Reciprocal(x) }", "Div"),
    Case("tangent", "(float[2,3] x) => (y) { y = Tan(x) }", "Sin Cos Div"),
    Case("hyperbolic sine", "(float[2,3] x) => (y) { y = Sinh(x) }", "Exp Neg Exp Sub Mul"),
    Case("hyperbolic cosine", "(float[2,3] x) => (y) { y = Cosh(x) }", "Exp Neg Exp Add Mul"),
    Case("error function", "(float[2,3] x) => (y) { y = Erf(x) }", "..."),
    Case("arc tangent", "(float[2,3] x) => (y) { y = Atan(x) }", "..."),
    Case("arc sine", "(float[2,3] x) => (y) { y = Asin(x) }", "...", span=(-0.99, 0.99)),
    Case("arc cosine", "(float[2,3] x) => (y) { y = Acos(x) }", "...", span=(-0.99, 0.99)),
    Case("area hyperbolic sine", "(float[2,3] x) => (y) { y = Asinh(x) }", "Abs Sign Mul Add Sqrt Add Log Mul"),
    Case("area hyperbolic cosine", "(float[2,3] x) => (y) { y = Acosh(x) }", "Add*2 Mul Sqrt Add Log", span=(1.1, 3.0)),
    Case("area hyperbolic tangent", "(float[2,3] x) => (y) { y = Atanh(x) }", "Add Sub Div Log Mul", span=(-0.9, 0.9)),
    Case("not a number", "(float[2,3] x) => (y) { l = Log(x) y = IsNaN(l) }", "Log Equal Not"),
    Case("infinite", "(float[2,3] x, float[2,3] z) => (y) { d = Reciprocal(x) y = IsInf(d) }", "Div Greater Less Or"),
    Case(
        "elu of another alpha", "(float[2,3] x) => (y) { y = Elu<alpha=2.0>(x) }", "Relu Clip Elu(alpha=None) Mul Add"
    ),
    Case("elu", "(float[2,3] x) => (y) { y = Elu(x) }", "Elu"),
    Case("swish", "(float[2,3] x) => (y) { y = Swish<alpha=2.0>(x) }", "Mul Sigmoid Mul"),
    Case("a sum of three", "(float[2,3] x, float[2,3] z, float[3] w) => (y) { y = Sum(x, z, w) }", "Reshape Add*2"),
    Case("a mean of three", "(float[2,3] x, float[2,3] z, float[2,3] w) => (y) { y = Mean(x, z, w) }", "Add*2 Mul"),
    Case("the largest of three", "(float[2,3] x, float[2,3] z, float[2,3] w) => (y) { y = Max(x, z, w) }", "Max*2"),
    Case("the smallest of two", "(float[2,3] x, float[2,3] z) => (y) { y = Min(x, z) }", "Min"),
    Case("computed bounds", "(float[2,3] x, float l, float h) => (y) { y = Clip(x, l, h) }", "Max Min"),
    Case(
        "a remainder with the dividend's sign",
        "(float[2,3] x, float[2,3] z) => (y) { y = Mod<fmod=1>(x, z) }",
        "Abs*2 Sign Div Floor Mul Sub Mul",
    ),
    Case("one or the other", "(bool[2,3] x, bool[2,3] z) => (y) { y = Xor(x, z) }", "Or And Not And"),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case, decomposed)
