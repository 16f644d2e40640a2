"""ONNX Runtime: the operators of each opset from 17 to 23, and the spelling of QDQ that its CPU kernels fuse.

Sources: github.com/onnx/onnx, docs/Changelog.md, for the opsets; onnxruntime.ai/docs/performance/model-optimizations/
quantization.html and core/optimizer/qdq_transformer/selectors_actions of its sources, for what becomes one integer
kernel: activations are uint8, weights int8 with a zero point of 0 and a scale for each channel, biases int32.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

from narrowcast.dialect.ops import KINDS
from narrowcast.errors import UsageError
from narrowcast.model import OPSET, ir
from narrowcast.targets.groups import BIAS
from narrowcast.targets.rules import Kernel, OpRule, Sharing, Storage, Target
from narrowcast.targets.spelling import block_of

__all__ = ["FIRST_OPSET", "ONNXRUNTIME", "at_opset", "kernels_of"]

FIRST_OPSET = 17
"""The oldest opset that is written; ONNX Runtime of 2022 reads it."""
FEW_BITS = 21
"""The opset that brought integers of 4 bits, and scales by blocks."""

_SINCE = {
    "BitwiseAnd": 18, "BitwiseNot": 18, "BitwiseOr": 18, "BitwiseXor": 18, "CenterCropPad": 18, "Col2Im": 18,
    "Mish": 18, "DeformConv": 19, "AffineGrid": 20, "Gelu": 20, "GroupNormalization": 21,
    "Attention": 23, "RMSNormalization": 23, "RotaryEmbedding": 23, "Swish": 24,
}  # fmt: skip
"""The opset in which an operator came, or got today's meaning, where that is above `FIRST_OPSET`."""

Since = Callable[[ir.Node], int]


def _dilated(node: ir.Node) -> int:
    return 19 if max(node.attributes.get_ints("dilations", (1,))) > 1 else FIRST_OPSET


def _antialiased(node: ir.Node) -> int:
    return 18 if node.attributes.get_int("antialias", 0) else FIRST_OPSET


def _wrapped(node: ir.Node) -> int:
    return 19 if node.attributes.get_string("mode", "constant") == "wrap" else FIRST_OPSET


def _scattered(node: ir.Node) -> int:
    return 18 if node.attributes.get_string("reduction", "none") in ("max", "min") else FIRST_OPSET


def _of_volumes(node: ir.Node) -> int:
    source = node.inputs[0]
    return 20 if source is not None and source.shape is not None and len(source.shape) != 4 else FIRST_OPSET


def _in_few_bits(node: ir.Node) -> int:
    source = node.inputs[0]
    return FEW_BITS if block_of(node) or (source is not None and source.dtype is ir.DataType.INT4) else FIRST_OPSET


def _of_booleans(node: ir.Node) -> int:
    source = node.inputs[0]
    return 20 if source is not None and source.dtype is ir.DataType.BOOL else FIRST_OPSET


_FORMS: dict[str, Since] = {
    "AveragePool": _dilated,
    "LpPool": _dilated,
    "DequantizeLinear": _in_few_bits,
    "Resize": _antialiased,
    "Pad": _wrapped,
    "ScatterElements": _scattered,
    "ScatterND": _scattered,
    "GridSample": _of_volumes,
    "ReduceMax": _of_booleans,
    "ReduceMin": _of_booleans,
}
"""The opset that a form of an operator needs."""


def _kernel(name: str, opset: int) -> Kernel:
    form = _FORMS.get(name)
    if form is None:
        return Kernel()

    def fits(node: ir.Node) -> str:
        since = form(node)
        return f"has this form of {name} from opset {since} on" if since > opset else ""

    return Kernel(fits)


@cache
def kernels_of(opset: int) -> dict[str, Kernel]:
    """The operators of an opset from `FIRST_OPSET` to `OPSET`, for targets that take ONNX."""
    names = [name for domain, name in KINDS if not domain and _SINCE.get(name, 0) <= opset]
    closed = {f"narrowcast::{name}": Kernel() for name in ("If", "Loop")}  # which the writer spells as ONNX's own
    return {name: _kernel(name, opset) for name in names} | closed


def at_opset(target: Target, opset: int) -> Target:
    """A target that takes ONNX, as it is at an opset.

    Raises:
        UsageError: the opset is not one of those that are written.
    """
    if not FIRST_OPSET <= opset <= OPSET:
        raise UsageError(f"opset {opset} is not written", hint=f"--opset {FIRST_OPSET} to {OPSET}")
    kernels = {name: kernel for name, kernel in kernels_of(opset).items() if name in target.kernels}
    integers = target.integers
    if opset < FEW_BITS:
        integers = {name: replace(rule, int4=_too_old) for name, rule in integers.items()}
    return replace(target, opset=opset, kernels=kernels, integers=integers)


def _too_old(node: ir.Node, storage: Storage) -> str:
    return f"ONNX has weights of 4 bits from opset {FEW_BITS} on"


def _undilated(node: ir.Node) -> str:
    return "its windows are dilated, which QLinearAveragePool does not know" if _dilated(node) > FIRST_OPSET else ""


def _multiplies_int4(node: ir.Node, storage: Storage) -> str:
    """A MatMul by a matrix in blocks becomes MatMulNBits; a Gemm does not, nor a matrix by a scale for each channel."""
    shape = node.inputs[1].shape if node.inputs[1] is not None else None
    inputs = shape[1 if node.op_type == "Gemm" else 0] if shape is not None and len(shape) == 2 else None
    if storage.activations != "float32":
        return "ONNX Runtime multiplies weights of 4 bits with floats only"
    if not storage.block:
        return "ONNX Runtime multiplies weights of 4 bits in blocks only"
    whole = isinstance(inputs, int) and inputs % storage.block == 0
    return "" if whole else "blocks do not divide its inputs"


_SAME = OpRule(sharing=Sharing.SAME, data=(0,))
_ONE = OpRule(data=(0,))

ONNXRUNTIME = Target(
    "onnxruntime",
    title="ONNX Runtime",
    kernels=kernels_of(OPSET),
    integers={
        "Conv": OpRule(weights=(1, 0), bias=2, data=(0,)),
        "Gemm": OpRule(weights=(1, 0), bias=2, data=(0,)),
        "MatMul": OpRule(weights=(1, 1), data=(0, 1), as_they_come=True, int4=_multiplies_int4),
        "Add": OpRule(),
        "Mul": OpRule(),
        "Sigmoid": _ONE,
        "LeakyRelu": _ONE,
        "Softmax": _ONE,
        "Relu": _ONE,
        "AveragePool": OpRule(data=(0,), fits=_undilated),
        "ReduceMean": _ONE,
        "Concat": OpRule(),
        "MaxPool": _SAME,
        "Reshape": _SAME,
        "Transpose": _SAME,
        "Slice": _SAME,
        "Split": _SAME,
        "Gather": _SAME,
        "Expand": _SAME,
        "Resize": _SAME,
        "DepthToSpace": _SAME,
        "SpaceToDepth": _SAME,
    },
    storage={
        "float32": Storage(),
        "float16": Storage(weights="float16"),
        "weight_only": Storage(weights="int8", block=32, explicit=True),
        "int8": Storage("uint8", "int8", "int32"),
        "full_int8": Storage("uint8", "int8", "int32"),
        "int8_pow2": Storage("int8", "int8", "int32", symmetric=True, powers=True, shifts=True),
    },
    kept={"uint8": Storage("uint8", "uint8", "int32", narrow=False)},
    fuses={anchor: frozenset({BIAS, "Relu", "Clip(0,6)"}) for anchor in ("Conv", "Gemm", "MatMul", "Add", "Mul")},
)
