"""TensorRT: ONNX whose QuantizeLinear and DequantizeLinear its parser takes, and where its fusions want them.

Source: docs.nvidia.com/deeplearning/tensorrt, "Working with Quantized Types": scales alone, no zero points; int8
weights with a scale for each output channel; biases in float; all inputs of a weighted layer quantised, and both
branches of a residual sum, so that the sum joins the convolution before it. uint8, int16 and int32 biases behind a
DequantizeLinear are refused.
"""

from __future__ import annotations

from collections.abc import Mapping

from narrowcast.dialect.build import constant_of, input_of, tensor_of
from narrowcast.model import OPSET, ir
from narrowcast.targets.groups import BIAS
from narrowcast.targets.onnxruntime import kernels_of
from narrowcast.targets.rules import Kernel, OpRule, Sharing, Storage, Target

__all__ = ["TENSORRT"]

_SAME = OpRule(sharing=Sharing.SAME, data=(0,))
_STORED = frozenset({ir.DataType.INT8, ir.DataType.INT4})


def _quantize(node: ir.Node) -> str:
    """int8 and int4 by scales alone, without zero points; no integer biases."""
    zero = constant_of(input_of(node, 2))
    if zero is not None and zero.any():
        return "takes no zero points but 0"
    integers = node.inputs[0] if node.op_type == "DequantizeLinear" else node.outputs[0]
    if integers is None or integers.dtype is None or integers.dtype in _STORED:
        return ""
    if integers.dtype is ir.DataType.INT32 and tensor_of(integers) is not None:
        return "takes biases in floats only"
    return f"quantises to int8 and int4, not to {integers.dtype.name.lower()}"


_KERNELS: Mapping[str, Kernel] = {
    **kernels_of(OPSET),
    "QuantizeLinear": Kernel(_quantize),
    "DequantizeLinear": Kernel(_quantize),
}

TENSORRT = Target(
    "tensorrt",
    title="TensorRT",
    kernels=_KERNELS,
    integers={
        "Conv": OpRule(weights=(1, 0), data=(0,)),
        "Gemm": OpRule(weights=(1, 0), data=(0,)),
        "MatMul": OpRule(weights=(1, 1), data=(0, 1)),
        "Add": OpRule(),
        "AveragePool": OpRule(data=(0,)),
        "ReduceMean": OpRule(data=(0,)),
        "MaxPool": _SAME,
        "Reshape": _SAME,
        "Transpose": _SAME,
        "Concat": OpRule(sharing=Sharing.SAME),
    },
    storage={
        "float32": Storage(),
        "float16": Storage(weights="float16"),
        "int8": Storage("int8", "int8", bias=None, symmetric=True),
    },
    fuses={anchor: frozenset({BIAS, "Relu", "Clip(0,6)"}) for anchor in ("Conv", "Gemm", "MatMul", "Add")},
)
