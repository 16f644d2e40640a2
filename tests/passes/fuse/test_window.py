"""Windows said in full."""

from __future__ import annotations

import pytest

from tests.passes.cases import Case, canonical, check

CASES = (
    Case(
        "what is left out",
        "(float[1,2,6,6] x) => (y) <float[3,2,3,2] w> { y = Conv(x, w) }",
        "Conv(kernel_shape=[3, 2], strides=[1, 1], dilations=[1, 1], pads=[0, 0, 0, 0], auto_pad=None)",
    ),
    Case(
        "the same size, the odd pixel last",
        '(float[1,2,6,7] x) => (y) { y = MaxPool<kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER">(x) }',
        "MaxPool(pads=[0, 1, 1, 1], auto_pad=None)",
    ),
    Case(
        "the same size, the odd pixel first",
        '(float[1,2,6,7] x) => (y) <float[3,2,2,2] w> { y = Conv<auto_pad="SAME_LOWER">(x, w) }',
        "Conv(pads=[1, 1, 0, 0])",
    ),
    Case(
        "the same size, turned round",
        "(float[1,2,3,4] x) => (y) <float[2,3,3,3] w>"
        '{ y = ConvTranspose<auto_pad="SAME_UPPER", strides=[2, 2]>(x, w) }',
        "ConvTranspose(pads=[0, 0, 1, 1])",
    ),
    Case(
        "a pad by zeros",
        "(float[1,2,6,6] x) => (y) <float[3,2,3,3] w, int64[8] p={0, 0, 1, 2, 0, 0, 3, 4}>"
        "{ d = Pad(x, p) y = Conv<pads=[1, 1, 1, 1]>(d, w) }",
        "Conv(pads=[2, 3, 4, 5])",
    ),
    Case(
        "a pad by the lowest value before a pool",
        "(float[1,2,6,6] x) => (y) <int64[8] p={0, 0, 1, 1, 0, 0, 1, 1}, float v={-3.4028235e38}>"
        "{ d = Pad(x, p, v) y = MaxPool<kernel_shape=[3, 3]>(d) }",
        "MaxPool(pads=[1, 1, 1, 1])",
    ),
    Case(
        "a pad by zeros before a pool",
        "(float[1,2,6,6] x) => (y) <int64[8] p={0, 0, 1, 1, 0, 0, 1, 1}>"
        "{ d = Pad(x, p) y = MaxPool<kernel_shape=[3, 3]>(d) }",
        "Pad MaxPool",
    ),
    Case(
        "a pad of channels",
        "(float[1,1,6,6] x) => (y) <float[3,2,3,3] w, int64[8] p={0, 1, 1, 1, 0, 0, 1, 1}>"
        "{ d = Pad(x, p) y = Conv(d, w) }",
        "Pad Conv",
    ),
    Case(
        "a global average",
        "(float[1,2,5,6] x) => (y) { y = GlobalAveragePool(x) }",
        "ReduceMean(axes=[2, 3], keepdims=1)",
    ),
    Case(
        "a global maximum", "(float[1,2,5,6] x) => (y) { y = GlobalMaxPool(x) }", "ReduceMax(axes=[2, 3], keepdims=1)"
    ),
    Case(
        "an average of the whole map",
        "(float[1,2,5,6] x) => (y) { y = AveragePool<kernel_shape=[5, 6]>(x) }",
        "ReduceMean(axes=[2, 3], keepdims=1)",
    ),
    Case(
        "an average of most of the map",
        "(float[1,2,5,6] x) => (y) { y = AveragePool<kernel_shape=[5, 5]>(x) }",
        "AveragePool",
    ),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case, canonical)
