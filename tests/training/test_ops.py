"""Every translated operator beside ONNX Runtime, and its signature beside ONNX's schema."""

from __future__ import annotations

import inspect

import numpy as np
import onnx
import pytest
import torch

from narrowcast.errors import UnsupportedOpError
from narrowcast.model import OPSET, ir
from narrowcast.training import to_torch
from narrowcast.training.registry import translations
from tests.training.graphs import both, one

R = np.random.default_rng(0)


def f(*shape):
    return R.normal(size=shape).astype("f")


def p(*shape):
    return (np.abs(R.normal(size=shape)) + 0.1).astype("f")


def i(*numbers):
    return np.array(numbers, np.int64)


X, IMAGE = f(2, 3, 4), f(1, 4, 7, 6)
POSITIVE = ("Acosh", "Log", "Sqrt", "ReduceLogSum", "Reciprocal", "Pow")
UNIT = ("Acos", "Asin", "Atanh")
LISTS = (onnx.defs.OpSchema.AttrType.INTS, onnx.defs.OpSchema.AttrType.STRINGS)
LOGIC = ("And", "Or", "Xor")
BITS = ("BitwiseAnd", "BitwiseOr", "BitwiseXor")
UNARY_NAMES = """
    Abs Acos Acosh Asin Asinh Atan Atanh Ceil Cos Cosh Erf Exp Floor HardSwish Identity Log Mish Neg Reciprocal Relu
    Round Sigmoid Sign Sin Sinh Softplus Softsign Sqrt Tan Tanh Celu Elu Gelu HardSigmoid LeakyRelu Selu Shrink
    ThresholdedRelu Softmax LogSoftmax Hardmax LpNormalization
"""
BINARY_NAMES = "Add Sub Mul Div Pow Max Min Sum Mean Equal Greater GreaterOrEqual Less LessOrEqual PRelu MatMul"
REDUCED = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")


def _unary(name):
    x = (
        np.clip(f(2, 3, 4) / 3, -0.99, 0.99)
        if name in UNIT
        else p(2, 3, 4) + (name == "Acosh")
        if name in POSITIVE
        else X
    )
    return name, [x], (), {}


def _binary(name):
    x, y = (p(2, 3, 4), f(3, 1)) if name == "Pow" else (X, f(3, 1))
    x, y = (f(2, 3, 4), f(2, 4, 5)) if name == "MatMul" else (x, y)
    return name, [x, y], (), {}


CASES = [
    *map(_unary, UNARY_NAMES.split()),
    *map(_binary, BINARY_NAMES.split()),
    *((name, [f(3, 4) > 0, f(3, 4) > 0], (), {}) for name in LOGIC),
    *((name, [R.integers(0, 99, (3, 4)), R.integers(0, 99, 4)], (), {}) for name in BITS),
    ("Not", [f(3) > 0], (), {}),
    ("BitwiseNot", [R.integers(0, 99, 4)], (), {}),
    ("Div", [i(7, -7, 9), i(2, 2, -4)], (), {}),
    ("Mod", [i(7, -7, 9), i(4, 4, -4)], (), {}),
    ("Mod", [f(5), p(5)], (), {"fmod": 1}),
    ("Where", [f(3, 4) > 0, f(3, 4), f(4)], (), {}),
    ("IsNaN", [np.array([1, np.nan], "f")], (), {}),
    ("IsInf", [np.array([1, np.inf, -np.inf], "f")], (), {"detect_negative": 0}),
    ("Clip", [X], (np.float32(-0.5), np.float32(0.7)), {}),
    ("Clip", [X], (None, np.float32(0.7)), {}),
    ("Cast", [X * 3], (), {"to": 7}),
    ("CastLike", [X * 3, i(1)], (), {}),
    ("Gelu", [X], (), {"approximate": "tanh"}),
    ("Elu", [X], (), {"alpha": 0.3}),
    (
        "Conv",
        [IMAGE],
        (f(6, 2, 3, 3), f(6)),
        {"group": 2, "pads": [1, 0, 2, 1], "strides": [2, 1], "kernel_shape": [3, 3]},
    ),
    ("Conv", [f(1, 4, 9)], (f(5, 4, 3),), {"dilations": [2], "pads": [2, 2], "kernel_shape": [3]}),
    ("Conv", [f(1, 2, 4, 5, 6)], (f(3, 2, 2, 2, 2), f(3)), {}),
    (
        "ConvTranspose",
        [IMAGE],
        (f(4, 3, 3, 3), f(6)),
        {"group": 2, "strides": [2, 2], "pads": [1, 1, 0, 1], "output_padding": [1, 0]},
    ),
    ("ConvTranspose", [f(1, 4, 5)], (f(4, 3, 3),), {"dilations": [2]}),
    ("MaxPool", [IMAGE], (), {"kernel_shape": [3, 2], "strides": [2, 2], "pads": [1, 1, 1, 0]}),
    ("MaxPool", [IMAGE], (), {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
    ("MaxPool", [IMAGE], (), {"kernel_shape": [2, 2], "dilations": [2, 2]}),
    ("AveragePool", [IMAGE], (), {"kernel_shape": [3, 3], "strides": [2, 2]}),
    ("AveragePool", [IMAGE], (), {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    (
        "AveragePool",
        [IMAGE],
        (),
        {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 0, 1], "count_include_pad": 1},
    ),
    ("AveragePool", [IMAGE], (), {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
    *(
        ("Resize", [IMAGE], (None, None, i(1, 4, *size)), {"mode": mode, "coordinate_transformation_mode": transform})
        for size in ((14, 12), (5, 9))
        for mode in ("nearest", "linear", "cubic")
        for transform in ("half_pixel", "align_corners", "asymmetric")
    ),
    ("DepthToSpace", [f(1, 8, 3, 2)], (), {"blocksize": 2, "mode": "CRD"}),
    ("DepthToSpace", [f(1, 8, 3, 2)], (), {"blocksize": 2, "mode": "DCR"}),
    ("SpaceToDepth", [f(1, 2, 4, 6)], (), {"blocksize": 2}),
    ("GridSample", [IMAGE, np.tanh(f(1, 3, 4, 2))], (), {"mode": "linear"}),
    (
        "GridSample",
        [IMAGE, np.tanh(f(1, 3, 4, 2))],
        (),
        {"mode": "nearest", "padding_mode": "border", "align_corners": 1},
    ),
    *(
        (f"Reduce{name}", [p(2, 3, 4)], (axes,), {"keepdims": keep})
        for name in REDUCED
        for axes, keep in ((i(1), 1), (i(0, 2), 0))
    ),
    ("ReduceSum", [X], (), {"keepdims": 0}),
    ("ReduceSum", [X], (), {"noop_with_empty_axes": 1}),
    ("ArgMax", [X], (), {"axis": 1, "keepdims": 0}),
    ("ArgMin", [X], (), {"axis": 2}),
    ("ArgMax", [np.array([[1, 2, 2]], "f")], (), {"axis": 1, "select_last_index": 1}),
    ("CumSum", [X], (np.int64(1),), {"exclusive": 1, "reverse": 1}),
    ("Reshape", [X], (i(0, -1),), {}),
    ("Transpose", [X], (), {"perm": [2, 0, 1]}),
    ("Concat", [X, f(2, 3, 1)], (), {"axis": 2}),
    ("Slice", [f(4, 9)], (i(1, 8), i(3, -10), i(0, 1), i(1, -3)), {}),
    ("Slice", [f(4, 9)], (i(-3), i(9), i(1), i(2)), {}),
    ("Pad", [X], (i(0, 1, 2, 0, -1, 1), np.float32(3)), {}),
    *(("Pad", [X], (i(0, 1, 2, 0, 1, 1),), {"mode": mode}) for mode in ("edge", "reflect", "wrap")),
    ("Pad", [X], (i(1, 2), None, i(2)), {}),
    ("Tile", [X], (i(1, 2, 3),), {}),
    ("Expand", [f(3, 1)], (i(2, 1, 4),), {}),
    ("Gather", [X, np.array([[0, -1], [2, 1]])], (), {"axis": 1}),
    ("GatherElements", [X, R.integers(-3, 3, (2, 2, 4))], (), {"axis": 1}),
    ("GatherND", [X, R.integers(-2, 2, (5, 2))], (), {}),
    ("GatherND", [X, R.integers(0, 3, (2, 5, 1))], (), {"batch_dims": 1}),
    ("ScatterElements", [f(3, 4), np.array([[2, 0, 1, -1]]), f(1, 4)], (), {"axis": 1}),
    ("ScatterElements", [f(3, 4), np.array([[2, 0, 1, 0]]), f(1, 4)], (), {"axis": 0, "reduction": "add"}),
    ("ScatterND", [f(4, 3), np.array([[2], [0]]), f(2, 3)], (), {}),
    ("OneHot", [i(0, -1, 2)], (i(3), np.array([0.5, 2], "f")), {"axis": 0}),
    ("Trilu", [X], (np.int64(1),), {"upper": 0}),
    ("LayerNormalization", [X], (f(4), f(4)), {}),
    ("LayerNormalization", [X], (f(3, 4),), {"axis": 1, "epsilon": 0.01}),
    ("RMSNormalization", [X], (f(4),), {}),
    ("InstanceNormalization", [IMAGE], (f(4), f(4)), {}),
    ("GroupNormalization", [IMAGE], (f(4), f(4)), {"num_groups": 2}),
    ("BatchNormalization", [IMAGE], (f(4), f(4), f(4), p(4)), {}),
    ("LpNormalization", [X], (), {"axis": 1, "p": 1}),
    ("MeanVarianceNormalization", [IMAGE], (), {}),
    ("LRN", [IMAGE], (), {"size": 3, "alpha": 0.1}),
    ("Gemm", [f(2, 3)], (f(4, 3), f(4)), {"transB": 1}),
    ("Gemm", [f(3, 2)], (f(3, 4), f(4)), {"transA": 1, "alpha": 0.5, "beta": 2.0}),
    ("Einsum", [X, f(2, 4, 5)], (), {"equation": "bij,bjk->bik"}),
    ("narrowcast::Swish", [X], (), {}),
]
SEVERAL = [
    ("TopK", [X], (i(2),), 2, {"axis": 1}),
    ("TopK", [X], (i(2),), 2, {"axis": 2, "largest": 0}),
    ("Split", [X], (i(1, 3),), 2, {"axis": 2}),
    *(
        (
            name,
            [f(5, 2, 3)],
            (f(ways, gates * 4, 3), f(ways, gates * 4, 4), f(ways, gates * 8), None, f(ways, 2, 4), *more),
            outputs,
            {"hidden_size": 4, "direction": direction, **extra},
        )
        for direction, ways in (("forward", 1), ("reverse", 1), ("bidirectional", 2))
        for name, gates, outputs, more, extra in (
            ("LSTM", 4, 3, (f(ways, 2, 4), f(ways, 12)), {}),
            ("GRU", 3, 2, (), {"linear_before_reset": 1}),
            ("GRU", 3, 2, (), {}),
            ("RNN", 1, 2, (), {}),
            ("LSTM", 4, 3, (), {"clip": 0.5}),
        )
    ),
]


def _close(wanted, found):
    for name, array in wanted.items():
        assert found[name].shape == array.shape
        assert found[name].dtype == array.dtype
        np.testing.assert_allclose(found[name], array, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize(
    ("key", "fed", "constants", "attributes"), CASES, ids=[f"{c[0]}-{n}" for n, c in enumerate(CASES)]
)
def test_an_operator_computes_what_onnx_runtime_does(key, fed, constants, attributes):
    model = one(key, fed, constants, **attributes)
    if key == "narrowcast::Swish":
        wanted, found = {"y": X / (1 + np.exp(-X))}, {"y": to_torch(model)(torch.from_numpy(X)).numpy()}
    else:
        wanted, found = both(model, {f"x{n}": x for n, x in enumerate(fed)})
    _close(wanted, found)


@pytest.mark.parametrize(("key", "fed", "constants", "outputs", "attributes"), SEVERAL)
def test_an_operator_of_several_outputs_does(key, fed, constants, outputs, attributes):
    model = one(key, fed, constants, outputs, **attributes)
    _close(*both(model, {f"x{n}": x for n, x in enumerate(fed)}))


def test_every_translated_operator_has_a_case():
    covered = {case[0] for case in (*CASES, *SEVERAL)}
    assert {key for key in translations() if not key.startswith("narrowcast::")} == {
        k for k in covered if "::" not in k
    }


@pytest.mark.parametrize(
    "key", [key for key, found in translations().items() if "::" not in key and not found.prepared]
)
def test_a_signature_is_the_schemas(key):
    attributes = onnx.defs.get_schema(key, OPSET).attributes
    if not attributes:  # functions of torch itself have no signature to look at
        return
    parameters = inspect.signature(translations()[key].function).parameters.values()
    named = {parameter.name: parameter.default for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY}
    assert set(named) == set(attributes)
    for name, attribute in attributes.items():
        if attribute.default_value.name and attribute.type not in LISTS:
            wanted = onnx.helper.get_attribute_value(attribute.default_value)
            wanted = wanted.decode() if isinstance(wanted, bytes) else wanted
            assert named[name] == (pytest.approx(wanted) if isinstance(wanted, float) else wanted)


def test_an_operator_without_a_function_is_named():
    with pytest.raises(UnsupportedOpError, match="training has no NonZero") as caught:
        to_torch(one("NonZero", [f(3)]))
    assert caught.value.where == "y/NonZero"


def test_a_number_that_is_computed_is_refused():
    with pytest.raises(UnsupportedOpError, match="wants input 1 of Reshape to be a constant"):
        to_torch(one("Reshape", [f(6), i(2, 3)]))


@pytest.mark.parametrize("ways", [1, 2])
@pytest.mark.parametrize(("kind", "gates", "extra"), [("LSTM", 4, True), ("LSTM", 4, False), ("RNN", 1, True)])
def test_layers_of_the_dialect_are_onnxs_gate_by_gate(kind, gates, extra, ways):
    x = f(5, 1, 3)
    constants = []
    for _ in range(ways):
        constants += [f(4, 3) for _ in range(gates)] + [f(4, 4) for _ in range(gates)] + [f(4) for _ in range(gates)]
        constants += [f(4) if extra else None for _ in range(3)] if kind == "LSTM" else []
        constants += [f(1, 4) if extra else None for _ in range(2 if kind == "LSTM" else 1)]
        constants += [None] * (6 if kind == "LSTM" else 0)
    direction = "forward" if ways == 1 else "bidirectional"
    model = one(
        f"narrowcast::{kind}",
        [x],
        constants,
        2 if kind == "LSTM" else 1,
        hidden_size=4,
        direction=direction,
        activation="Tanh",
    )
    shapes = ((5, 1, ways * 4), (ways, 1, 4))
    for output, shape in zip(next(iter(model.graph)).outputs, shapes, strict=False):
        output.shape, output.dtype = ir.Shape(shape), ir.DataType.FLOAT
    _close(*both(model, {"x0": x}))
