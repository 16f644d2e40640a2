"""Operator versions: rows of op_version.cc by hand, and the versions in files of TensorFlow's own converter."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from narrowcast.writers.tflite.tables import TYPES, Quantization, Tensor, options
from narrowcast.writers.tflite.versions import KNOWN, Use, minimum_runtime, version_of

SHAPE = (1, 4, 4, 2)


def tensor(kind: str, shape=SHAPE, scales=0):
    step = Quantization(np.ones(scales, np.float32), np.zeros(scales, np.int64)) if scales else None
    return Tensor("t", tuple(shape), np.dtype(kind), 0, step)


def use(words: str, kind: str | None = None, shapes=(), scales=(), **fields) -> Use:
    """A use with inputs and, behind "->", outputs of these types; "-" is an input that is left out."""
    inputs, _, outputs = words.partition("->")
    sources = [
        None if word == "-" else tensor(word, *shapes[index : index + 1] or [SHAPE], *scales[index : index + 1])
        for index, word in enumerate(inputs.split())
    ]
    made = options(kind, **fields) if kind else None
    return Use(sources, [tensor(word) for word in (outputs or inputs).split()[:1]], made)


CONV, FC = "Conv2DOptions", "FullyConnectedOptions"
ROWS = [
    ("CONV_2D", 1, use("float32 float32 float32", CONV)),
    ("CONV_2D", 2, use("float32 int8 float32", CONV, scales=(0, 1))),
    ("CONV_2D", 5, use("float32 int8 float32", CONV, scales=(0, 2))),
    ("CONV_2D", 3, use("int8 int8 int32", CONV)),
    ("CONV_2D", 4, use("int16 int8 int64", CONV)),
    ("CONV_2D", 6, use("float32 float32", CONV, shapes=((1, 4, 4, 4), (2, 1, 1, 2)))),
    ("DEPTHWISE_CONV_2D", 1, use("float32 float32", "DepthwiseConv2DOptions")),
    ("DEPTHWISE_CONV_2D", 2, use("float32 float32", "DepthwiseConv2DOptions", dilationWFactor=2)),
    ("DEPTHWISE_CONV_2D", 3, use("int8 int8", "DepthwiseConv2DOptions", dilationWFactor=2)),
    ("DEPTHWISE_CONV_2D", 5, use("int16 int8", "DepthwiseConv2DOptions")),
    ("DEPTHWISE_CONV_2D", 6, use("float32 int8", "DepthwiseConv2DOptions", scales=(0, 2))),
    ("FULLY_CONNECTED", 1, use("float32 float32 float32", FC)),
    ("FULLY_CONNECTED", 6, use("float32 float32", FC)),
    ("FULLY_CONNECTED", 6, use("float32 float32 -", FC)),
    ("FULLY_CONNECTED", 5, use("float32 float32 float32", FC, keepNumDims=True)),
    ("FULLY_CONNECTED", 4, use("int8 int8 int32", FC)),
    ("FULLY_CONNECTED", 3, use("float32 int8 float32", FC, scales=(0, 1))),
    ("FULLY_CONNECTED", 9, use("float32 int8 float32", FC, scales=(0, 1), asymmetricQuantizeInputs=True)),
    ("RSQRT", 1, use("float32")),
    ("FULLY_CONNECTED", 12, use("float32 int8 float32", FC, scales=(0, 2))),
    ("TRANSPOSE_CONV", 1, use("int32 float32 float32", "TransposeConvOptions")),
    ("TRANSPOSE_CONV", 2, use("int32 int8 int8", "TransposeConvOptions")),
    ("TRANSPOSE_CONV", 3, use("int32 float32 float32 float32", "TransposeConvOptions")),
    ("TRANSPOSE_CONV", 4, use("int32 float32 float32", "TransposeConvOptions", fusedActivationFunction=1)),
    ("ADD", 3, use("int16 int16", scales=(1, 1))),
    ("ADD", 5, use("int16 int16")),
    ("ADD", 4, use("int64 int64")),
    ("SUB", 3, use("float32 float32", shapes=((1, 2, 3, 4, 5), (5,)))),
    ("SUB", 1, use("float32 float32", shapes=((1, 2, 3, 4, 5), (1, 2, 3, 4, 5)))),
    ("MUL", 7, use("int16 int16")),
    ("MUL", 4, use("int16 int16", scales=(1, 1))),
    ("MUL", 5, use("int64 int64")),
    ("CAST", 1, use("int32 -> float32")),
    ("CAST", 3, use("float32 -> int8")),
    ("CAST", 5, use("float64 -> float32")),
    ("CAST", 5, use("float32 -> float16")),
    ("DEQUANTIZE", 2, use("int8 -> float32", scales=(1,))),
    ("DEQUANTIZE", 5, use("int8 -> float32", scales=(2,))),
    ("DEQUANTIZE", 3, use("float16 -> float32")),
    ("QUANTIZE", 1, use("float32 -> int8")),
    ("QUANTIZE", 2, use("float32 -> int16")),
    ("TRANSPOSE", 3, use("bool int32")),
    ("TRANSPOSE", 4, use("float32 int32", shapes=((1, 2, 3, 4, 5),))),
    ("TRANSPOSE", 6, use("float32 int32", shapes=((1, 2, 3, 4, 5, 6),))),
    ("SPLIT", 3, use("int32 int32")),
    ("SPLIT", 2, use("int32 int8")),
    ("SPLIT", 1, use("int32 float32")),
    ("RESIZE_BILINEAR", 3, use("float32 int32", "ResizeBilinearOptions", halfPixelCenters=True)),
    ("RESIZE_NEAREST_NEIGHBOR", 3, use("float32 int32", "ResizeNearestNeighborOptions", alignCorners=True)),
    ("RESIZE_NEAREST_NEIGHBOR", 1, use("float32 int32", "ResizeNearestNeighborOptions")),
    ("BROADCAST_TO", 2, use("float32 int32")),
    ("BROADCAST_TO", 3, use("int8 int32")),
    ("SLICE", 5, use("int8 int32 int32", shapes=((1, 2, 3, 4, 5),))),
    ("STRIDED_SLICE", 4, use("float32 int32", shapes=((1, 2, 3, 4, 5),))),
    ("MAXIMUM", 3, use("float32 float32", shapes=((1, 2, 3, 4, 5), (5,)))),
    ("ARG_MAX", 2, use("int8 int32 -> int32")),
    ("PADV2", 3, use("int16 int32 int16")),
]
"""Read off GetBuiltinOperatorVersion, tflite/tools/versioning/op_version.cc of google-ai-edge/LiteRT; convolutions and
dense layers of int16 by the versions in which their kernels appeared."""


@pytest.mark.parametrize(
    ("name", "version", "case"), ROWS, ids=lambda item: str(item) if not isinstance(item, Use) else ""
)
def test_versions(name, version, case):
    assert version_of(name, case) == version


def test_a_product_that_is_not_scaled_down():
    def product(scale):
        tensors = [Tensor("t", SHAPE, np.dtype(np.int8), 0, Quantization(np.array([s]), np.array([0]))) for s in (1, 1)]
        result = Tensor("t", SHAPE, np.dtype(np.int8), 0, Quantization(np.array([scale]), np.array([0])))
        return version_of("MUL", Use(tensors, [result]))

    assert (product(2.0), product(1.0), product(0.5)) == (2, 3, 3)


def test_the_newest_operator_decides_the_runtime():
    assert minimum_runtime([]) == "1.5.0"
    assert minimum_runtime([("ADD", 1), ("FULLY_CONNECTED", 12), ("CONV_2D", 3)]) == "2.17.0"
    assert minimum_runtime([("RELU", 2), ("TILE", 1)]) == "2.1.0"
    assert minimum_runtime([("MUL", 6), ("GELU", 1)]) == "2.11.0", "2.11 comes after 2.9"


def test_only_known_operators():
    assert all(hasattr(schema.BuiltinOperator, name) for name in KNOWN)
    with pytest.raises(KeyError):
        version_of("LSH_PROJECTION", use("float32"))


def uses_of(path: Path) -> dict[str, tuple[int, int]]:
    """The version of each operator in a file, and the one that its uses there have by our table."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(path.read_bytes(), 0))
    names = {code: name for name, code in vars(schema.BuiltinOperator).items() if name.isupper()}
    types = {code: dtype for dtype, code in TYPES.items()}
    (graph,) = model.subgraphs

    def row(index):
        found = graph.tensors[index]
        scale = found.quantization.scale if found.quantization is not None else None
        step = None if scale is None else Quantization(np.asarray(scale), np.asarray(found.quantization.zeroPoint))
        return Tensor("", tuple(found.shape if found.shape is not None else ()), types[found.type], 0, step)

    found = {}
    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex]
        name = names[max(code.builtinCode, code.deprecatedBuiltinCode)]
        inputs = [None if index < 0 else row(index) for index in operator.inputs]
        ours = version_of(name, Use(inputs, [row(index) for index in operator.outputs], operator.builtinOptions))
        found[name] = code.version, max(ours, found.get(name, (0, 0))[1])
    return found


def test_versions_of_tensorflows_converter(tmp_path):
    command = [sys.executable, "-m", "tests.writers.converted", str(tmp_path)]
    done = subprocess.run(
        command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    for scheme in ("float32", "int8"):
        found = uses_of(tmp_path / f"{scheme}.tflite")
        assert len(found) > 15, found
        assert {name: pair for name, pair in found.items() if pair[0] != pair[1]} == {}, scheme
