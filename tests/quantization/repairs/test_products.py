"""Layers as matrix products: by ONNX Runtime's own layers, in every geometry."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from narrowcast.model import Model, ir
from narrowcast.passes.infer import infer_shapes
from narrowcast.quantization.repairs.products import columns, matrices, weights_of
from narrowcast.reference import Reference

RANDOM = np.random.default_rng(0)

LAYERS = {
    "Conv": ((1, 3, 7, 6), (4, 3, 3, 2), "Conv <kernel_shape = [3, 2], pads = [0, 0, 0, 0]>"),
    "padded more after": ((2, 3, 7, 6), (4, 3, 3, 3), "Conv <kernel_shape = [3, 3], pads = [0, 1, 2, 1]>"),
    "strided": ((1, 2, 9, 8), (4, 2, 3, 3), "Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1], strides = [2, 3]>"),
    "dilated": ((1, 2, 9, 8), (4, 2, 3, 2), "Conv <kernel_shape = [3, 2], pads = [2, 1, 0, 1], dilations = [2, 3]>"),
    "groups": ((1, 6, 5, 5), (4, 3, 3, 3), "Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1], group = 2>"),
    "depthwise": ((1, 4, 5, 5), (8, 1, 3, 3), "Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1], group = 4>"),
    "one axis": ((2, 3, 9), (4, 3, 4), "Conv <kernel_shape = [4], pads = [1, 2], strides = [2]>"),
    "three axes": ((1, 2, 4, 5, 6), (3, 2, 2, 3, 1), "Conv <kernel_shape = [2, 3, 1], pads = [1, 1, 0, 0, 1, 0]>"),
    "ConvTranspose": (
        (2, 4, 4, 5),
        (4, 3, 3, 2),
        "ConvTranspose <kernel_shape = [3, 2], pads = [1, 0, 0, 1], strides = [2, 3], output_padding = [1, 0]>",
    ),
    "ConvTranspose, groups": (
        (1, 4, 4, 5),
        (4, 3, 2, 3),
        "ConvTranspose <kernel_shape = [2, 3], pads = [0, 0, 0, 0], dilations = [3, 2], group = 2>",
    ),
    "ConvTranspose, cropped": (
        (1, 2, 6, 6),
        (2, 3, 2, 2),
        "ConvTranspose <kernel_shape = [2, 2], pads = [2, 0, 3, 1], strides = [2, 1]>",
    ),
    "Gemm": ((3, 5), (4, 5), "Gemm <transB = 1>"),
    "MatMul": ((2, 3, 5), (5, 4), "MatMul"),
}


def layer_of(name):
    shape, weights, operator = LAYERS[name]
    types = [f"float[{','.join(map(str, dims))}]" for dims in (shape, weights)]
    rank = ",".join("abcdef"[: len(shape)])
    text = f'<ir_version: 8, opset_import: ["" : 23]> g ({types[0]} x, {types[1]} w) => (float[{rank}] y) '
    parsed = onnx.parser.parse_model(text + "{ y = " + operator + " (x, w) }")
    model = Model(ir.from_proto(parsed))
    infer_shapes(model)
    feed = {"x": RANDOM.normal(size=shape).astype(np.float32), "w": RANDOM.normal(size=weights).astype(np.float32)}
    return model, feed


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is_its_matrices_times_its_columns(name):
    model, feed = layer_of(name)
    wanted = Reference(model).run(feed)["y"]
    node = model.graph[0]
    product = matrices(node, feed["w"]) @ columns(node, feed["x"], 10**6, RANDOM)
    if node.op_type in ("Gemm", "MatMul"):
        found = product[0].T.reshape(wanted.shape)
    else:
        spatial = wanted.shape[2:]
        found = product.reshape(wanted.shape[1], len(wanted), *spatial).swapaxes(0, 1)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", LAYERS)
def test_matrices_become_weights_again(name):
    model, feed = layer_of(name)
    node = model.graph[0]
    found = weights_of(node, matrices(node, feed["w"]), feed["w"].shape)
    np.testing.assert_array_equal(found, feed["w"])


@pytest.mark.parametrize("name", LAYERS)
def test_fewer_columns_are_some_of_all(name):
    model, feed = layer_of(name)
    node = model.graph[0]
    whole, some = (columns(node, feed["x"], most, RANDOM) for most in (10**6, 3))
    assert some.shape == (*whole.shape[:2], 3)
    first = {tuple(column) for column in whole[0].T}
    assert {tuple(column) for column in some[0].T} <= first
