"""Operator versions: the lowest that says what an operator does, so that old runtimes and compilers take the file.

Columns: float, int8, int16 (activations), hybrid (float activations with int8 weights). Source: TensorFlow's
tensorflow/lite/tools/versioning/op_version.cc, and what TFLiteConverter 2.21 writes.
"""

from __future__ import annotations

__all__ = ["version_of"]

_VERSIONS: dict[str, tuple[int, int, int, int]] = {
    "CONV_2D": (1, 3, 4, 5),
    "DEPTHWISE_CONV_2D": (1, 3, 5, 6),
    "TRANSPOSE_CONV": (1, 2, 4, 3),
    "FULLY_CONNECTED": (1, 4, 7, 12),
    "ADD": (1, 2, 3, 1),
    "SUB": (1, 2, 5, 1),
    "MUL": (1, 2, 4, 1),
    "DIV": (1, 2, 2, 1),
    "MAXIMUM": (1, 2, 4, 1),
    "MINIMUM": (1, 2, 4, 1),
    "AVERAGE_POOL_2D": (1, 2, 3, 1),
    "MAX_POOL_2D": (1, 2, 3, 1),
    "MEAN": (1, 2, 3, 1),
    "SUM": (1, 2, 2, 1),
    "REDUCE_MAX": (1, 2, 3, 1),
    "REDUCE_MIN": (1, 2, 3, 1),
    "SOFTMAX": (1, 2, 3, 1),
    "LOG_SOFTMAX": (1, 2, 2, 1),
    "LOGISTIC": (1, 2, 3, 1),
    "TANH": (1, 2, 3, 1),
    "RELU": (1, 2, 3, 1),
    "RELU6": (1, 2, 3, 1),
    "LEAKY_RELU": (1, 2, 2, 1),
    "PRELU": (1, 1, 1, 1),
    "HARD_SWISH": (1, 1, 1, 1),
    "GELU": (1, 2, 2, 1),
    "CONCATENATION": (1, 2, 3, 1),
    "PAD": (1, 2, 3, 1),
    "PADV2": (1, 2, 3, 1),
    "MIRROR_PAD": (1, 2, 3, 1),
    "SLICE": (1, 2, 4, 1),
    "STRIDED_SLICE": (1, 2, 4, 1),
    "SPLIT": (1, 2, 4, 1),
    "SPLIT_V": (1, 2, 2, 1),
    "TRANSPOSE": (1, 2, 4, 1),
    "BATCH_MATMUL": (1, 2, 3, 4),
    "RESIZE_BILINEAR": (1, 2, 4, 1),
    "RESIZE_NEAREST_NEIGHBOR": (1, 2, 4, 1),
    "GATHER": (1, 2, 4, 1),
    "GATHER_ND": (1, 1, 3, 1),
    "DEPTH_TO_SPACE": (1, 2, 2, 1),
    "SPACE_TO_DEPTH": (1, 2, 2, 1),
    "QUANTIZE": (1, 1, 2, 1),
    "DEQUANTIZE": (1, 2, 3, 2),
    "TILE": (1, 2, 2, 1),
    "ARG_MAX": (1, 2, 2, 1),
    "ARG_MIN": (1, 2, 2, 1),
    "BROADCAST_TO": (2, 2, 3, 2),
    "L2_NORMALIZATION": (1, 2, 2, 1),
    "EXPAND_DIMS": (1, 1, 1, 1),
    "PACK": (1, 2, 3, 1),
    "UNPACK": (1, 2, 4, 1),
    "EQUAL": (1, 2, 2, 1),
    "LESS": (1, 2, 2, 1),
    "GREATER": (1, 2, 2, 1),
}
_COLUMNS = {"float": 0, "int8": 1, "int16": 2, "hybrid": 3}


def version_of(name: str, arithmetic: str, *, keep_num_dims: bool = False, half: bool = False) -> int:
    """The version of an operator computing in "float", "int8", "int16" or "hybrid".

    Args:
        name: the schema's name of the operator.
        arithmetic: what it computes in.
        keep_num_dims: a FULLY_CONNECTED that keeps more than two dimensions.
        half: a DEQUANTIZE of float16.
    """
    if half:
        return 3
    version = _VERSIONS.get(name, (1, 1, 1, 1))[_COLUMNS[arithmetic]]
    return max(version, 5) if keep_num_dims else version
