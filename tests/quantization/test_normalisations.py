"""Normalisations of what differs a thousandfold in size: their variance has no 8-bit step that fits."""

from __future__ import annotations

import numpy as np
import pytest

import narrowcast
from narrowcast.dialect.build import Builder
from narrowcast.model import Model
from narrowcast.passes.canonicalize import canonicalize
from narrowcast.passes.infer import infer_shapes
from narrowcast.passes.prepare import adapt
from narrowcast.quantization import islands
from narrowcast.targets.litert import LITERT

TOKENS, WIDTH = 16, 32


def network(operator):
    random = np.random.default_rng(0)
    build = Builder.new("normalised")
    x = build.input("x", (1, TOKENS, WIDTH))
    matrix = random.normal(size=(WIDTH, WIDTH)).astype(np.float32)
    y = build("MatMul", x, build.constant(matrix))
    scale, shift = (build.constant(random.normal(size=WIDTH).astype(np.float32)) for _ in range(2))
    operands = [scale, shift] if operator == "LayerNormalization" else [scale]
    y = build(operator, y, *operands, axis=-1, epsilon=1e-5)
    model = Model(build.finish([build("MatMul", y, build.constant(matrix.T.copy()), name="y")]))
    infer_shapes(model)
    return model


@pytest.mark.parametrize("scheme", ["int8", "full_int8", "int16x8"])
@pytest.mark.parametrize("operator", ["LayerNormalization", "RMSNormalization"])
def test_small_ones_are_not_lost(operator, scheme, tmp_path):
    model, random = network(operator), np.random.default_rng(1)
    sizes = np.geomspace(0.03, 1, TOKENS)[None, :, None]
    feeds = [{"x": (random.normal(size=(1, TOKENS, WIDTH)) * sizes).astype(np.float32)} for _ in range(8)]
    file = narrowcast.save(narrowcast.quantize(model, scheme, data=feeds), tmp_path / "m.tflite", data=feeds)
    assert file.parity.sqnr_db > (35 if scheme == "int16x8" else 13)
    kinds = dict(narrowcast.inspect(file.path).operators.by_type)
    assert kinds["FULLY_CONNECTED"] == 2
    assert kinds["DEQUANTIZE"] <= 2, "one before the normalisation, one at the end"


@pytest.mark.parametrize("operator", ["LayerNormalization", "RMSNormalization"])
def test_what_comes_out_is_rounded_once(operator, tmp_path):
    """Behind the scale and the shift, for the product that reads it."""
    model = network(operator)
    canonicalize(model)
    adapt(model, LITERT)
    kept = {island.node.op_type for island in islands(model, LITERT, "int8")}
    assert {"Div", "Mul"} <= kept
    whole = {node.op_type for node in model.graph} - {"Gemm", "MatMul", "Reshape", "Transpose"}
    assert kept - {"Reshape", "Transpose"} == whole
