"""Operator versions: the lowest that says what an operator does, so that old runtimes and compilers take the file.

An operator's version depends on the types and ranks of its tensors and on its options. Each row lists conditions,
newest first, and the release of TensorFlow Lite in which each version appeared. Source:
tflite/tools/versioning/op_version.cc and runtime_version.cc of google-ai-edge/LiteRT, read in November 2026. One
departure: op_version.cc asks for int16 *weights* where 16x8 models have int8 ones, and so never raises the version of
their convolutions; the versions here are those in which the kernels for int16 activations appeared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from narrowcast.writers.tflite.tables import Tensor

__all__ = ["KNOWN", "Use", "minimum_runtime", "version_of"]


@dataclass(frozen=True, slots=True)
class Use:
    """One use of an operator: its tensors (None where an optional one is left out) and its options."""

    inputs: Sequence[Tensor | None]
    outputs: Sequence[Tensor]
    options: Any = None

    def type(self, index: int = 0) -> str:
        """The numpy name of an input's type; empty where there is none."""
        tensor = self.inputs[index] if index < len(self.inputs) else None
        return tensor.dtype.name if tensor is not None else ""

    def option(self, name: str) -> Any:
        """An option by its schema name, None where the operator has none."""
        return getattr(self.options, name, None)


Condition = Callable[[Use], bool]


def _of(*types: str, index: int = 0) -> Condition:
    return lambda use: use.type(index) in types


def _to(*types: str) -> Condition:
    return lambda use: use.outputs[0].dtype.name in types


def _either(*types: str) -> Condition:
    return lambda use: use.type() in types or use.outputs[0].dtype.name in types


def _rank_above(rank: int) -> Condition:
    return lambda use: use.inputs[0] is not None and len(use.inputs[0].shape) > rank


def _option(*names: str) -> Condition:
    return lambda use: any(bool(use.option(name)) for name in names)


def _broadcasts_above_4(use: Use) -> bool:
    one, other = use.inputs[:2]
    if one is None or other is None:
        return False
    return one.shape != other.shape and max(len(one.shape), len(other.shape)) > 4


def _per_axis(index: int) -> Condition:
    def condition(use: Use) -> bool:
        tensor = use.inputs[index]
        return tensor is not None and tensor.quantization is not None and tensor.quantization.scale.size > 1

    return condition


def _hybrid(use: Use) -> bool:
    return use.type() == "float32" and use.type(1) == "int8"


def _narrow(use: Use) -> bool:
    """Weights of 4 bits; op_version.cc says nothing of those beside floats, which older kernels do not take either."""
    return use.type(1) == "int4"


def _both(*conditions: Condition) -> Condition:
    return lambda use: all(condition(use) for condition in conditions)


def _grouped(use: Use) -> bool:
    source, filters = use.inputs[:2]
    return source is not None and filters is not None and source.shape[-1] != filters.shape[-1]


def _dilated(use: Use) -> bool:
    return bool(max(use.option("dilationHFactor"), use.option("dilationWFactor")) > 1)


def _no_bias(use: Use) -> bool:
    return len(use.inputs) < 3 or use.inputs[2] is None


def _plain_int16(use: Use) -> bool:
    source = use.inputs[0]
    return source is not None and source.dtype.name == "int16" and source.quantization is None


def _amplifies(use: Use) -> bool:
    """A product whose rescaling is not a reduction."""
    tensors = [*use.inputs, *use.outputs]
    steps = [
        tensor.quantization.scale[0] for tensor in tensors if tensor is not None and tensor.quantization is not None
    ]
    return len(steps) == 3 and bool(float(steps[0]) * float(steps[1]) / float(steps[2]) >= 1.0)


@dataclass(frozen=True, slots=True)
class _Row:
    releases: tuple[str, ...]
    conditions: tuple[tuple[int, Condition], ...]
    lowest: int = 1


def _row(releases: str, *conditions: tuple[int, Condition], lowest: int = 1) -> _Row:
    return _Row(tuple(releases.split()), conditions, lowest)


_INT8 = (2, _of("int8"))
_INT16 = (3, _of("int16"))
_RECURRENT = ((3, _option("asymmetricQuantizeInputs")), (2, _both(_of("float32"), _of("int8", index=2))))

_ROWS: dict[str, _Row] = {
    "ABS": _row("1.13.0 2.4.0 2.5.0 2.6.0 2.12.0", (5, _of("int32")), (4, _plain_int16), _INT16, _INT8),
    "ADD": _row("1.5.0 1.14.0 2.4.0 2.6.0 2.13.0", (5, _plain_int16), (4, _of("int64")), _INT16, _INT8),
    "ARG_MAX": _row("1.9.0 1.14.0 2.9.0", (3, _of("bool")), _INT8),
    "ARG_MIN": _row("1.9.0 1.14.0 2.9.0", (3, _of("bool")), _INT8),
    "AVERAGE_POOL_2D": _row("1.5.0 1.14.0 2.3.0", _INT16, _INT8),
    "BATCH_MATMUL": _row("2.3.0 2.3.0 2.4.0", _INT16, _INT8),
    "BIDIRECTIONAL_SEQUENCE_LSTM": _row("1.14.0 1.14.0 2.3.0", *_RECURRENT),
    "BIDIRECTIONAL_SEQUENCE_RNN": _row("1.14.0 1.14.0 2.3.0", *_RECURRENT),
    "BITCAST": _row("2.13.0"),
    "BITWISE_XOR": _row("2.13.0"),
    "BROADCAST_TO": _row("2.5.0 2.5.0 2.5.0", (3, _of("int8", "int16")), lowest=2),
    "CAST": _row(
        "1.5.0 2.7.0 2.8.0 2.9.0 2.12.0",
        (5, _either("float16", "float64")),
        (4, _either("uint16")),
        (3, _either("int8")),
        (2, _either("uint32")),
    ),
    "CEIL": _row("1.14.0"),
    "COMPLEX_ABS": _row("2.5.0"),
    "CONCATENATION": _row("1.5.0 1.14.0 2.3.0 2.14.0", (4, _of("uint32")), _INT16, _INT8),
    "CONV_2D": _row(
        "1.5.0 1.14.0 1.14.0 2.3.0 2.4.0 2.9.0 2.11.0",
        (7, _narrow),
        (6, _grouped),
        (5, _both(_hybrid, _per_axis(1))),
        (4, _of("int16")),
        (3, _of("int8")),
        (2, _hybrid),
    ),
    "CONV_3D": _row("2.5.0"),
    "COS": _row("1.14.0"),
    "CUMSUM": _row("2.4.0"),
    "DEPTHWISE_CONV_2D": _row(
        "1.5.0 1.12.0 1.14.0 2.2.0 2.3.0 2.3.0 2.11.0",
        (7, _narrow),
        (6, _both(_hybrid, _per_axis(1))),
        (5, _of("int16")),
        (4, _hybrid),
        (3, _of("int8")),
        (2, _dilated),
    ),
    "DEPTH_TO_SPACE": _row("2.1.0 2.5.0", _INT8),
    "DEQUANTIZE": _row(
        "1.13.1 1.14.0 1.15.0 2.2.0 2.7.0 2.18.0",
        (6, _of("int4")),
        (3, _of("int16", "float16")),
        (5, _both(_of("int8"), _per_axis(0))),
        _INT8,
    ),
    "DIV": _row("1.6.0 2.3.0", (2, _broadcasts_above_4)),
    "DYNAMIC_UPDATE_SLICE": _row("2.9.0"),
    "ELU": _row("1.14.0"),
    "EQUAL": _row("1.14.0 1.14.0 2.3.0 2.13.0", (4, _of("int16")), _INT8),
    "EXP": _row("1.7.0 2.12.0", (2, _of("int8", "int16"))),
    "FILL": _row("1.13.0 2.3.0 2.5.0", (3, _of("int8", "int16", index=1)), (2, _of("bool", index=1))),
    "FLOOR": _row("1.9.0"),
    "FLOOR_DIV": _row("1.14.0 1.14.0 2.13.0", (3, _of("int8", "int16")), (2, _of("float32"))),
    "FLOOR_MOD": _row("1.13.0 2.13.0", (2, _of("int8", "int16"))),
    "FULLY_CONNECTED": _row(
        "1.5.0 1.10.0 1.14.0 1.14.0 2.0.0 2.1.0 2.3.0 2.3.0 2.3.0 2.11.0 2.15.0 2.17.0",
        (12, _both(_hybrid, _per_axis(1))),
        (10, _narrow),
        (9, _option("asymmetricQuantizeInputs")),
        (7, _of("int16")),
        (6, _no_bias),
        (5, _option("keepNumDims")),
        (4, _of("int8")),
        (3, _hybrid),
    ),
    "GATHER": _row("1.6.0 1.14.0 1.15.0 2.4.0", (4, _of("int16")), (3, _of("bool")), _INT8),
    "GATHER_ND": _row("1.14.0 2.3.0 2.5.0 2.13.0 2.16.0", (5, _of("bool")), (3, _of("int16"))),
    "GELU": _row("2.9.0 2.9.0", _INT8),
    "GREATER": _row("1.14.0 1.14.0", _INT8),
    "NON_MAX_SUPPRESSION_V4": _row("2.1.0"),
    "PACK": _row("1.11.0"),
    "UNPACK": _row("1.13.0"),
    "SVDF": _row("1.5.0 1.14.0 2.2.0 2.3.0", (3, _of("int8")), (4, _option("asymmetricQuantizeInputs")), (2, _hybrid)),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": _row("1.13.1 1.14.0 2.3.0", *_RECURRENT),
    "UNIDIRECTIONAL_SEQUENCE_RNN": _row("1.14.0 1.14.0 2.3.0", *_RECURRENT),
    "WHERE": _row("1.14.0"),
    "GREATER_EQUAL": _row("1.14.0 1.14.0 2.13.0", _INT16, _INT8),
    "HARD_SWISH": _row("1.15.0"),
    "IF": _row("1.15.0"),
    "L2_NORMALIZATION": _row("1.5.0 1.14.0", _INT8),
    "LEAKY_RELU": _row("1.13.1 2.3.0", (2, _of("int16"))),
    "LESS": _row("1.14.0 1.14.0 2.13.0", _INT16, _INT8),
    "LESS_EQUAL": _row("1.14.0 1.14.0", _INT8),
    "LOCAL_RESPONSE_NORMALIZATION": _row("1.5.0"),
    "LOG": _row("1.14.0 2.15.0", (2, _of("int8", "int16"))),
    "LOGICAL_AND": _row("1.11.0"),
    "LOGICAL_NOT": _row("1.11.0"),
    "LOGICAL_OR": _row("1.11.0"),
    "LOGISTIC": _row("1.14.0 1.14.0 2.3.0", _INT16, _INT8),
    "LOG_SOFTMAX": _row("1.14.0 1.14.0", _INT8),
    "MAXIMUM": _row("1.14.0 1.14.0 2.3.0 2.3.0", (4, _of("int16")), (3, _broadcasts_above_4), _INT8),
    "MAX_POOL_2D": _row("1.5.0 1.14.0 2.3.0", _INT16, _INT8),
    "MEAN": _row("1.6.0 1.14.0 2.4.0", _INT16, _INT8),
    "MINIMUM": _row("1.14.0 1.14.0 2.3.0 2.3.0", (4, _of("int16")), (3, _broadcasts_above_4), _INT8),
    "MIRROR_PAD": _row("1.13.1 2.3.0 2.12.0", _INT16, _INT8),
    "MUL": _row(
        "1.5.0 1.14.0 1.15.0 2.3.0 2.6.0 2.11.0 2.13.0",
        (7, _plain_int16),
        (7, _of("uint32")),
        (5, _of("int64")),
        (4, _of("int16")),
        (3, _amplifies),
        _INT8,
    ),
    "NEG": _row("1.9.0"),
    "NOT_EQUAL": _row("1.14.0 1.14.0 2.3.0", _INT8),
    "ONE_HOT": _row("1.11.0"),
    "PAD": _row("1.5.0 1.14.0 2.4.0 2.6.0", (4, _rank_above(4)), _INT16, _INT8),
    "PADV2": _row("1.9.0 1.14.0 2.4.0 2.6.0", (4, _rank_above(4)), _INT16, _INT8),
    "POW": _row("1.10.0"),
    "PRELU": _row("1.8.0"),
    "QUANTIZE": _row("1.14.0 1.15.0 2.7.0", (2, _to("int16"))),
    "RANGE": _row("1.13.0 2.14.0", (2, _of("int64"))),
    "REDUCE_ALL": _row("2.6.0"),
    "REDUCE_ANY": _row("1.11.0"),
    "REDUCE_MAX": _row("1.11.0 1.14.0 2.5.0", _INT16, _INT8),
    "REDUCE_MIN": _row("1.11.0 1.14.0 2.5.0", _INT16, _INT8),
    "REDUCE_PROD": _row("1.11.0 2.6.0", (2, _of("int8", "int16"))),
    "RELU": _row("1.5.0 2.1.0 2.5.0", _INT16, (2, _of("int8", "uint8"))),
    "RELU6": _row("1.5.0 1.14.0 2.5.0", _INT16, _INT8),
    "RELU_0_TO_1": _row("2.10.0"),
    "RELU_N1_TO_1": _row("1.5.0"),
    "RFFT2D": _row("2.5.0"),
    "RESHAPE": _row("1.5.0"),
    "RESIZE_BILINEAR": _row("1.7.0 1.14.0 2.2.0 2.5.0", (4, _of("int16")), (3, _option("halfPixelCenters")), _INT8),
    "RESIZE_NEAREST_NEIGHBOR": _row(
        "1.13.1 1.14.0 2.3.0 2.4.0", (4, _of("int16")), (3, _option("halfPixelCenters", "alignCorners")), _INT8
    ),
    "REVERSE_SEQUENCE": _row("1.14.0"),
    "REVERSE_V2": _row("1.14.0"),
    "RIGHT_SHIFT": _row("2.13.0"),
    "ROUND": _row("1.14.0"),
    "RSQRT": _row("1.10.0 2.5.0", _INT8),
    "SCATTER_ND": _row("2.1.0"),
    "SELECT_V2": _row("2.2.0 2.12.0", (2, _of("uint32"))),
    "SHAPE": _row("1.10.0"),
    "SIGN": _row("2.11.0 2.12.0", (2, _of("int32"))),
    "SIN": _row("1.9.0"),
    "SLICE": _row(
        "1.14.0 1.14.0 1.14.0 2.4.0 2.5.0 2.14.0",
        (6, _of("uint32")),
        (5, _rank_above(4)),
        (4, _of("int16")),
        _INT8,
    ),
    "SOFTMAX": _row("1.5.0 1.14.0 2.3.0", _INT16, _INT8),
    "SPACE_TO_DEPTH": _row("1.5.0 1.14.0", _INT8),
    "SPLIT": _row(
        "1.5.0 1.14.0 1.14.0 2.3.0",
        (4, _of("int16", index=1)),
        (3, _of("int32", index=1)),
        (2, _of("int8", index=1)),
    ),
    "SPLIT_V": _row("1.13.1 2.3.0", _INT8),
    "SQRT": _row("1.10.0"),
    "STRIDED_SLICE": _row(
        "1.6.0 1.14.0 2.1.0 2.2.0 2.5.0 2.6.0 2.14.0",
        (7, _of("uint32")),
        (4, _rank_above(4)),
        (3, _of("bool")),
        _INT8,
    ),
    "SUB": _row(
        "1.6.0 1.14.0 2.3.0 2.4.0 2.4.0", (5, _of("int16")), (4, _of("int64")), (3, _broadcasts_above_4), _INT8
    ),
    "SUM": _row("1.10.0 1.15.0", _INT8),
    "SQUARED_DIFFERENCE": _row("1.13.1 2.5.0", _INT8),
    "TANH": _row("1.14.0 1.14.0 2.3.0", _INT16, _INT8),
    "TILE": _row("1.10.1 2.2.0 2.8.0", (3, _of("int8"))),
    "TOPK_V2": _row("1.7.0 1.14.0 2.13.0", _INT16, _INT8),
    "TRANSPOSE": _row(
        "1.6.0 1.14.0 1.15.0 2.3.0 2.4.0 2.12.0",
        (6, _rank_above(5)),
        (5, _of("int16")),
        (4, _rank_above(4)),
        (3, _of("bool")),
        _INT8,
    ),
    "TRANSPOSE_CONV": _row(
        "1.9.0 2.2.0 2.3.0 2.13.0 2.15.0",
        (4, _option("fusedActivationFunction")),
        (3, lambda use: len(use.inputs) == 4),
        (2, _of("int8", index=2)),
    ),
    "WHILE": _row("1.15.0"),
}

KNOWN = frozenset(_ROWS)
"""The operators that can be written."""


def version_of(name: str, use: Use) -> int:
    """The lowest version of an operator that covers a use of it.

    Raises:
        KeyError: the table has no such operator.
    """
    row = _ROWS[name]
    return next((version for version, condition in row.conditions if condition(use)), row.lowest)


def minimum_runtime(codes: Iterable[tuple[str, int]]) -> str:
    """The first release of TensorFlow Lite that has all these operators in these versions, as "major.minor.patch"."""
    releases = [_ROWS[name].releases[version - 1] for name, version in codes]
    return max(releases, key=lambda release: tuple(map(int, release.split("."))), default="1.5.0")
