"""Arithmetic in every type that a tensor can have, in LiteRT, against ONNX's reference."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import narrowcast
from narrowcast import runtimes

INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
BINARY = ("Add", "Sub", "Mul", "Max", "Min", "Equal", "Greater", "LessOrEqual")
REDUCTIONS = ("ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd")


def values(dtype, seed):
    """Small ones, and those at the ends of the type."""
    random, kind = np.random.default_rng(seed), np.dtype(dtype)
    if kind.kind == "f":
        return (random.normal(size=(3, 4)) * 3).astype(kind)
    if kind.kind == "b":
        return random.integers(0, 2, (3, 4)).astype(bool)
    info = np.iinfo(kind)
    drawn = random.integers(max(info.min, -100), min(info.max, 100), (3, 4)).astype(kind)
    if kind.itemsize <= 2 or kind == np.uint64:
        drawn[0, :2] = info.max, info.min
    drawn[drawn == 0] = 1
    return drawn


def check(op_type, arrays, result, tmp_path, weights=(), **attributes):
    ports = [
        helper.make_tensor_value_info(f"x{i}", helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for i, array in enumerate(arrays)
    ]
    constants = [numpy_helper.from_array(array, f"w{i}") for i, array in enumerate(weights)]
    names = [port.name for port in ports] + [constant.name for constant in constants]
    output = helper.make_tensor_value_info("y", helper.np_dtype_to_tensor_dtype(np.dtype(result)), None)
    graph = helper.make_graph(
        [helper.make_node(op_type, names, ["y"], **attributes)], "one", ports, [output], constants
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(proto, tmp_path / "m.onnx")
    path = narrowcast.save(narrowcast.load(tmp_path / "m.onnx"), tmp_path / "m.tflite", verify=False).path
    feed = {f"x{i}": array for i, array in enumerate(arrays)}
    (found,) = runtimes.open(path, "litert").run(feed).values()
    with np.errstate(over="ignore"):
        (expected,) = ReferenceEvaluator(proto).run(None, feed)
    assert found.dtype == expected.dtype
    if expected.dtype.kind == "f":
        tolerance = {2: 2e-3, 4: 1e-5, 8: 1e-5}[expected.dtype.itemsize]
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)
    else:
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dtype", [*INTEGERS, "float16", "float64"])
@pytest.mark.parametrize("op_type", BINARY)
def test_binary(op_type, dtype, tmp_path):
    compares = op_type in ("Equal", "Greater", "LessOrEqual")
    check(op_type, [values(dtype, 0), values(dtype, 1)], "bool" if compares else dtype, tmp_path)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "float16", "float64"])
def test_division(dtype, tmp_path):
    check("Div", [np.abs(values(dtype, 0)), np.abs(values(dtype, 1)) // 2 + 1], dtype, tmp_path)


@pytest.mark.parametrize("dtype", ["int32", "uint32", "int64", "float16", "float64"])
@pytest.mark.parametrize("op_type", REDUCTIONS)
def test_reductions(op_type, dtype, tmp_path):
    array = values(dtype, 0) if op_type != "ReduceProd" else np.ones((3, 4), dtype) * 2
    check(op_type, [array], dtype, tmp_path, [np.array([1])], keepdims=1)


@pytest.mark.parametrize("dtype", ["bool", *INTEGERS, "float16", "float64"])
def test_moving(dtype, tmp_path):
    check("Concat", [values(dtype, 0), values(dtype, 1)], dtype, tmp_path, axis=1)
    check("Gather", [values(dtype, 0)], dtype, tmp_path, [np.array([2, 0])], axis=0)
    check("Transpose", [values(dtype, 0)], dtype, tmp_path, perm=[1, 0])
    check("Pad", [values(dtype, 0)], dtype, tmp_path, [np.array([1, 0, 0, 1])])


@pytest.mark.parametrize("dtype", ["float16", "float64"])
@pytest.mark.parametrize("op_type", ["Exp", "Sigmoid", "Softmax", "Sqrt", "Erf"])
def test_functions(op_type, dtype, tmp_path):
    check(op_type, [np.abs(values(dtype, 0))], dtype, tmp_path)
