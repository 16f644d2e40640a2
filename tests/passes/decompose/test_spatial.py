"""Spatial operators."""

from __future__ import annotations

import pytest

from tests.passes.cases import Case, check, decomposed

CASES = (
    Case(
        "one axis",
        "(float[1,2,6] x) => (y) <float[3,2,3] w, float[3] b> { y = Conv<pads=[1,1]>(x, w, b) }",
        "Reshape(shape=[1, 2, 1, 6]) Conv(kernel_shape=[1, 3], pads=[0, 1, 0, 1]) Reshape(shape=[1, 3, 6])",
    ),
    Case(
        "a pool along one axis",
        "(float[1,2,6] x) => (y) { y = MaxPool<kernel_shape=[2]>(x) }",
        "Reshape MaxPool Reshape",
    ),
    Case(
        "an average without its padding",
        "(float[1,2,6,6] x) => (y) { y = AveragePool<kernel_shape=[3,3], strides=[2,2], pads=[1,1,1,1]>(x) }",
        "Pad(pads=[0, 0, 1, 1, 0, 0, 0, 0]) AveragePool(pads=[0, 0, 0, 0]) Mul",
    ),
    Case(
        "transposed, in groups",
        "(float[1,4,3,3] x) => (y) <float[4,2,2,2] w, float[4] b>"
        "{ y = ConvTranspose<group=2, strides=[2,2]>(x, w, b) }",
        "Split(axis=1, split=[2, 2]) ConvTranspose(group=None) ConvTranspose Concat",
    ),
    Case(
        "transposed, padded",
        "(float[1,2,3,3] x) => (y) <float[2,3,3,3] w> { y = ConvTranspose<strides=[2,2], pads=[1,1,1,1]>(x, w) }",
        "ConvTranspose(pads=[0, 0, 0, 0]) Slice(starts=[1, 1], ends=[6, 6])",
    ),
    Case(
        "transposed, padded behind",
        "(float[1,2,3,3] x) => (y) <float[2,3,3,3] w, float[3] b>"
        "{ y = ConvTranspose<strides=[2,2], output_padding=[1,1]>(x, w, b) }",
        "ConvTranspose Pad Add",
    ),
    Case(
        "transposed, dilated",
        "(float[1,2,3,3] x) => (y) <float[2,3,2,2] w> { y = ConvTranspose<dilations=[2,2]>(x, w) }",
        "ConvTranspose(kernel_shape=[3, 3], dilations=[1, 1])",
    ),
    Case(
        "depth to space",
        '(float[1,8,2,3] x) => (y) { y = DepthToSpace<blocksize=2, mode="CRD">(x) }',
        'Gather(axis=1, indices=[0, 4, 1, 5, 2, 6, 3, 7]) DepthToSpace(mode="DCR")',
    ),
    Case(
        "depth to space behind a convolution",
        "(float[1,2,2,3] x) => (y) <float[8,2,1,1] w, float[8] b>"
        '{ c = Conv(x, w, b) y = DepthToSpace<blocksize=2, mode="CRD">(c) }',
        'Conv DepthToSpace(mode="DCR")',
    ),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case, decomposed)
