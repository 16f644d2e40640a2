"""LiteRT's quantisation specification, held against the tensors of written files.

Sources: https://ai.google.dev/edge/litert/models/quantization_spec, tensorflow/lite/tools/optimize/operator_property.cc
and the Prepare functions of the kernels, which win where they differ. The rules stand here a second time, by TFLite's
operators, so that an error in the table that the quantiser follows cannot hide.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from narrowcast.dialect.build import Builder
from narrowcast.model import Model
from narrowcast.passes.canonicalize import canonicalize
from narrowcast.passes.decompose import decompose
from narrowcast.passes.infer import infer_shapes
from narrowcast.quantization import quantize
from narrowcast.targets.litert import LITERT
from narrowcast.writers.formats import write
from tests.cases import CASES, weights

NAMES = {code: name for name, code in vars(schema.BuiltinOperator).items() if name.isupper()}
TYPES = {code: name for name, code in vars(schema.TensorType).items() if name.isupper()}
NUMPY = {"INT8": np.int8, "INT16": np.int16, "INT32": np.int32, "INT64": np.int64, "FLOAT16": np.float16}

WEIGHTED = {
    "CONV_2D": (0, 1, 2, 0),
    "DEPTHWISE_CONV_2D": (0, 1, 2, 3),
    "FULLY_CONNECTED": (0, 1, 2, 0),
    "TRANSPOSE_CONV": (2, 1, 3, 0),
}
"""Indices of input, weights and bias, and the axis of the weights' scales."""
SAME_SCALE = {
    "AVERAGE_POOL_2D": (0,),
    "BROADCAST_TO": (0,),
    "CONCATENATION": None,
    "DEPTH_TO_SPACE": (0,),
    "GATHER": (0,),
    "MAXIMUM": None,
    "MAX_POOL_2D": (0,),
    "MINIMUM": None,
    "MIRROR_PAD": (0,),
    "PAD": (0,),
    "PADV2": (0, 2),
    "REDUCE_MAX": (0,),
    "REDUCE_MIN": (0,),
    "RESHAPE": (0,),
    "RESIZE_BILINEAR": (0,),
    "RESIZE_NEAREST_NEIGHBOR": (0,),
    "SLICE": (0,),
    "SPACE_TO_DEPTH": (0,),
    "SPLIT": (1,),
    "SPLIT_V": (0,),
    "STRIDED_SLICE": (0,),
    "TILE": (0,),
    "TRANSPOSE": (0,),
}
"""Inputs that have the scale and zero point of all outputs; None for every input."""
FIXED = {
    "LOGISTIC": {"INT8": (1 / 256, -128), "INT16": (1 / 32768, 0)},
    "SOFTMAX": {"INT8": (1 / 256, -128), "INT16": (1 / 32768, 0)},
    "TANH": {"INT8": (1 / 128, 0), "INT16": (1 / 32768, 0)},
    "L2_NORMALIZATION": {"INT8": (1 / 128, 0)},
    "LOG_SOFTMAX": {"INT8": (16 / 256, 127)},
}
NO_INT16 = {
    *("ARG_MAX", "ARG_MIN", "DEPTH_TO_SPACE", "ELU", "GELU", "HARD_SWISH", "L2_NORMALIZATION", "LOG_SOFTMAX", "PRELU"),
    *("RELU_N1_TO_1", "SPACE_TO_DEPTH", "SUM", "TILE"),
}
INTEGERS = ("INT8", "INT16")


@dataclass(frozen=True)
class Stored:
    """A tensor of a file."""

    name: str
    type: str
    shape: tuple[int, ...]
    scale: np.ndarray
    zero_point: np.ndarray
    axis: int
    data: np.ndarray | None

    @property
    def step(self):
        """Scale and zero point of a tensor that has one of each."""
        assert self.scale.size == self.zero_point.size == 1, self.name
        return float(self.scale[0]), int(self.zero_point[0])


@dataclass(frozen=True)
class Operation:
    """An operator of a file with its tensors."""

    name: str
    inputs: tuple[Stored | None, ...]
    outputs: tuple[Stored, ...]
    options: object

    @property
    def integer(self):
        """Whether quantised activations go in and come out."""
        kept = [item for item in (*self.inputs, *self.outputs) if item is not None and item.scale.size]
        return (
            self.name not in ("QUANTIZE", "DEQUANTIZE")
            and any(item.type in INTEGERS and item.data is None for item in kept)
            and not any(item is not None and item.type == "FLOAT32" for item in self.inputs)
        )


def read(path):
    """The tensors and operators of a file."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(path.read_bytes(), 0))
    (graph,) = model.subgraphs
    tensors = [_stored(tensor, model.buffers) for tensor in graph.tensors]
    operations = []
    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex]
        operations.append(
            Operation(
                NAMES[max(code.builtinCode, code.deprecatedBuiltinCode)],
                tuple(tensors[index] if index >= 0 else None for index in operator.inputs),
                tuple(tensors[index] for index in operator.outputs),
                operator.builtinOptions,
            )
        )
    return tensors, operations, [tensors[i] for i in graph.inputs], [tensors[i] for i in graph.outputs]


def _stored(tensor, buffers):
    shape = tuple(tensor.shape) if tensor.shape is not None else ()
    kind, step = TYPES[tensor.type], tensor.quantization
    raw = buffers[tensor.buffer].data
    data = None if raw is None or kind not in NUMPY else np.asarray(raw).view(NUMPY[kind]).reshape(shape)
    scale = np.zeros(0) if step is None or step.scale is None else np.asarray(step.scale)
    zero = np.zeros(0) if step is None or step.zeroPoint is None else np.asarray(step.zeroPoint)
    return Stored(tensor.name.decode(), kind, shape, scale, zero, step.quantizedDimension if step else 0, data)


def check_tensor(tensor):
    """What holds of every quantised tensor."""
    assert tensor.scale.size == tensor.zero_point.size, f"{tensor.name}: as many scales as zero points"
    assert np.isfinite(tensor.scale).all()
    assert (tensor.scale >= np.finfo(np.float32).tiny).all(), f"{tensor.name}: normal floats above zero"
    if tensor.type in ("INT16", "INT32", "INT64"):
        assert not tensor.zero_point.any(), f"{tensor.name}: zero point 0"
    if tensor.type == "INT8":
        assert (np.abs(tensor.zero_point + 0.5) < 128).all(), f"{tensor.name}: zero is represented"
    if tensor.type == "INT16" and tensor.data is not None:
        assert tensor.data.min(initial=0) >= -32767


def check_weights(operation):
    """Weights: int8 in [-127, 127], per axis, zero point 0; bias: scale of the products, in int32 or int64."""
    source, weight, bias_index, axis = WEIGHTED[operation.name]
    data, kernel = operation.inputs[source], operation.inputs[weight]
    bias = operation.inputs[bias_index] if len(operation.inputs) > bias_index else None
    assert kernel.type == "INT8"
    assert not kernel.zero_point.any()
    assert kernel.data.min() >= -127
    if kernel.scale.size > 1:
        assert (kernel.axis, kernel.scale.size) == (axis, kernel.shape[axis])
    if operation.name in ("CONV_2D", "DEPTHWISE_CONV_2D"):
        assert bias is not None, "XNNPACK takes no convolution without bias"
    if bias is None:
        return
    assert bias.type == ("INT64" if data.type == "INT16" else "INT32")
    assert bias.axis == 0
    np.testing.assert_allclose(bias.scale, np.float32(data.step[0]) * kernel.scale, rtol=1e-6)
    assert np.abs(bias.data.astype(np.int64)).max(initial=0) <= 2**30 + 64, "half of int32, but for float32's rounding"


def check_operation(operation):
    """What the specification says of one operator in integers."""
    name, wide = operation.name, any(item.type == "INT16" for item in operation.outputs)
    assert not (wide and name in NO_INT16), f"{name} has no kernel for int16"
    if name in WEIGHTED:
        check_weights(operation)
    if name in SAME_SCALE:
        chosen = SAME_SCALE[name]
        inputs = operation.inputs if chosen is None else [operation.inputs[index] for index in chosen]
        steps = {item.step for item in (*inputs, *operation.outputs)}
        assert len(steps) == 1, f"{name}: {steps}"
    if name in FIXED:
        (output,) = operation.outputs
        assert output.step == FIXED[name][output.type]
    if name in ("ADD", "SUB"):
        assert operation.options.potScaleInt16 is False or operation.options.potScaleInt16 == 0
    if name == "BATCH_MATMUL":
        assert all(item.scale.size == 1 for item in operation.inputs), "both sides per tensor"
    if name not in WEIGHTED:
        constants = [item for item in operation.inputs if item.data is not None and item.scale.size]
        assert {item.type for item in constants} <= {operation.outputs[0].type, operation.inputs[0].type, "INT8"}
        assert all(item.scale.size == 1 for item in constants), "constants are quantised as activations"


@cache
def prepared(name):
    """A case as it is quantised."""
    case = next(case for case in CASES if case.name == name)
    model = case.model()
    canonicalize(model)
    decompose(model, "litert")
    return model, [case.feed(seed) for seed in range(2)]


def file_of(model, feeds, folder, scheme, **options):
    path = folder / "m.tflite"
    write(quantize(model, scheme, LITERT, feeds=feeds, **options), path)
    return read(path)


def network(build, shape=(1, 4, 6, 6)):
    """A network of one input by a function of builder and input."""
    made = Builder.new("network")
    outputs = build(made, made.input("x", shape))
    model = Model(made.finish(list(outputs) if isinstance(outputs, tuple) else [outputs]))
    infer_shapes(model)
    canonicalize(model)
    decompose(model, "litert")
    random = np.random.default_rng(0)
    return model, [{"x": random.normal(size=shape).astype(np.float32)} for _ in range(3)]


@pytest.mark.parametrize("scheme", ["int8", "full_int8", "int16x8"])
@pytest.mark.parametrize("weighting", ["per-channel", "per-tensor"])
@pytest.mark.parametrize("name", [case.name for case in CASES if case.smooth])
def test_every_operator(name, weighting, scheme, tmp_path):
    model, feeds = prepared(name)
    tensors, operations, _, _ = file_of(model, feeds, tmp_path, scheme, weights=weighting)
    for tensor in tensors:
        check_tensor(tensor)
    for operation in operations:
        if operation.integer:
            check_operation(operation)
        if weighting == "per-tensor" and operation.name in WEIGHTED:
            assert operation.inputs[WEIGHTED[operation.name][1]].scale.size <= 1


EXPECTED = [
    ("CONV_2D", "Conv valid", "both"),
    ("DEPTHWISE_CONV_2D", "Conv depthwise", "both"),
    ("TRANSPOSE_CONV", "ConvTranspose valid", "both"),
    ("BATCH_MATMUL", "MatMul activations", "both"),
    ("AVERAGE_POOL_2D", "AveragePool valid", "int8"),
    ("MAX_POOL_2D", "MaxPool valid", "int8"),
    ("MEAN", "GlobalAveragePool", "both"),
    ("REDUCE_MAX", "GlobalMaxPool", "int8"),
    ("REDUCE_MIN", "ReduceMin maps", "int8"),
    ("SUM", "ReduceSum", "int8"),
    ("LOGISTIC", "Sigmoid", "both"),
    ("TANH", "Tanh", "both"),
    ("SOFTMAX", "Softmax", "int8"),
    ("LOG_SOFTMAX", "LogSoftmax", "int8"),
    ("L2_NORMALIZATION", "LpNormalization", "int8"),
    ("LEAKY_RELU", "LeakyRelu", "both"),
    ("PRELU", "PRelu", "int8"),
    ("HARD_SWISH", "HardSwish", "int8"),
    ("GELU", "Gelu erf", "int8"),
    ("ELU", "Elu", "int8"),
    ("RELU6", "Clip 0..6", "both"),
    ("MIRROR_PAD", "Pad reflect", "int8"),
    ("RESIZE_BILINEAR", "Resize linear", "int8"),
    ("RESIZE_NEAREST_NEIGHBOR", "Resize nearest", "int8"),
    ("DEPTH_TO_SPACE", "DepthToSpace DCR", "int8"),
    ("SPACE_TO_DEPTH", "SpaceToDepth", "int8"),
    ("STRIDED_SLICE", "Slice stride 2", "int8"),
    ("SPLIT_V", "Split unequal", "int8"),
    ("TILE", "Tile", "int8"),
]
"""An operator, a case that becomes it, and the schemes in which it is computed in integers."""


@pytest.mark.parametrize(("operator", "name", "schemes"), EXPECTED, ids=lambda item: item.replace(" ", "_"))
def test_the_operator_is_integer(operator, name, schemes, tmp_path):
    """So that no rule above is met by a file that has no such operator."""
    model, feeds = prepared(name)
    for scheme in ("full_int8", "int16x8")[: 2 if schemes == "both" else 1]:
        _, operations, _, _ = file_of(model, feeds, tmp_path, scheme)
        assert [item for item in operations if item.name == operator and item.integer], scheme


def dense(build, x):
    flat = build("Reshape", x, build.constant(np.array([1, 144])), shape=(1, 144), dtype=np.float32)
    return build(
        "Gemm", flat, build.constant(weights(5, 144)), build.constant(np.arange(5, dtype=np.float32)), transB=1
    )


@pytest.mark.parametrize(("scheme", "kind"), [("full_int8", "INT32"), ("int16x8", "INT64")])
def test_dense_layers_have_a_scale_for_each_output(scheme, kind, tmp_path):
    _, operations, _, _ = file_of(*network(dense), tmp_path, scheme)
    (layer,) = [item for item in operations if item.name == "FULLY_CONNECTED"]
    assert layer.integer
    check_operation(layer)
    assert (layer.inputs[1].scale.size, layer.inputs[2].scale.size, layer.inputs[2].type) == (5, 5, kind)


def test_fixed_scales_meet_others_in_a_concatenation(tmp_path):
    """A sigmoid keeps its prescribed scale and is requantised on the edge to the operator that needs another."""
    found = network(lambda build, x: build("Concat", build("Sigmoid", x), build("Relu", x), axis=1))
    _, operations, _, _ = file_of(*found, tmp_path, "full_int8")
    by_name = {item.name: item for item in operations}
    for item in operations:
        if item.integer:
            check_operation(item)
    assert by_name["LOGISTIC"].outputs[0].step == (1 / 256, -128)
    assert by_name["CONCATENATION"].outputs[0].step != (1 / 256, -128)
    assert "QUANTIZE" in by_name


@pytest.mark.parametrize("operator", ["Max", "Min"])
def test_constants_of_maximum_and_minimum_have_the_outputs_scale(operator, tmp_path):
    bound = np.full((1, 4, 1, 1), 9.0 if operator == "Max" else -9.0, np.float32)
    found = network(lambda build, x: build(operator, build("Tanh", x), build.constant(bound)))
    _, operations, _, _ = file_of(*found, tmp_path, "full_int8")
    (item,) = [item for item in operations if item.name in ("MAXIMUM", "MINIMUM")]
    check_operation(item)
    scale, zero_point = item.outputs[0].step
    constant = next(value for value in item.inputs if value.data is not None)
    np.testing.assert_allclose((constant.data.astype(np.float32) - zero_point) * scale, bound.flat[0], atol=scale)


@pytest.mark.parametrize("number", [-20.0, 20.0])
def test_padding_is_representable(number, tmp_path):
    """The number that a pad writes lies in the range of its output."""

    def build(made, x):
        amounts = made.constant(np.array([0, 0, 1, 1, 0, 0, 1, 1]))
        return made("Pad", made("Tanh", x), amounts, made.constant(np.array(number, np.float32)), mode="constant")

    _, operations, _, _ = file_of(*network(build), tmp_path, "full_int8")
    (item,) = [item for item in operations if item.name == "PADV2"]
    check_operation(item)
    scale, zero_point = item.outputs[0].step
    assert (-128 - zero_point) * scale <= number + scale / 2
    assert number - scale / 2 <= (127 - zero_point) * scale


@pytest.mark.parametrize(
    ("scheme", "io_type", "kind"),
    [
        ("int8", None, "FLOAT32"),
        ("full_int8", None, "INT8"),
        ("full_int8", "uint8", "UINT8"),
        ("full_int8", "float32", "FLOAT32"),
        ("int16x8", None, "FLOAT32"),
    ],
)
def test_ports(scheme, io_type, kind, tmp_path):
    _, _, inputs, outputs = file_of(*network(dense), tmp_path, scheme, io_type=io_type)
    assert {item.type for item in (*inputs, *outputs)} == {kind}
    assert all((item.scale.size == 1) == (kind != "FLOAT32") for item in (*inputs, *outputs))


def test_unsigned_ports_are_the_signed_ones_shifted(tmp_path):
    found = network(dense)
    signed, unsigned = (file_of(*found, tmp_path, "full_int8", io_type=kind)[2:] for kind in ("int8", "uint8"))
    for one, other in zip((*signed[0], *signed[1]), (*unsigned[0], *unsigned[1]), strict=True):
        assert other.step == (one.step[0], one.step[1] + 128)


def wide(build, x):
    kernel = build.constant(weights(32, 4, 3, 3))
    return build("Conv", x, kernel, kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1], dilations=[1, 1], group=1)


@pytest.mark.parametrize(("weighting", "count"), [("per-channel", 32), ("per-tensor", 1)])
def test_dynamic_range_weights(weighting, count, tmp_path):
    model, _ = network(wide)
    _, operations, _, _ = file_of(model, None, tmp_path, "dynamic_range", weights=weighting)
    (item,) = [item for item in operations if item.name == "CONV_2D"]
    assert (item.inputs[0].type, item.outputs[0].type) == ("FLOAT32", "FLOAT32")
    kernel = item.inputs[1]
    assert (kernel.type, kernel.scale.size, kernel.axis) == ("INT8", count, 0)
    assert kernel.data.min() >= -127
    assert not kernel.zero_point.any()


def test_float16_weights(tmp_path):
    model, _ = network(wide)
    _, operations, _, _ = file_of(model, None, tmp_path, "float16")
    (item,) = [item for item in operations if item.name == "DEQUANTIZE"]
    assert item.inputs[0].type == "FLOAT16"
    np.testing.assert_allclose(item.inputs[0].data, weights(32, 4, 3, 3).transpose(0, 2, 3, 1), rtol=1e-3, atol=1e-6)
