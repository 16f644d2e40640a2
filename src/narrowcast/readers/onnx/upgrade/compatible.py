"""Changes of operators that old nodes need not notice, and why.

Changes of types or of wording alone are not listed: a test finds them by comparing the signatures.
"""

from __future__ import annotations

from enum import Enum

__all__ = ["COMPATIBLE", "Reason"]


class Reason(Enum):
    """Why an old node still means the same."""

    DEFAULT = "what was added is left out, and that means what was done before"
    OPTIONAL = "an input that had to be there may be left out"
    TYPES = "what was added concerns types that older opsets did not have"
    TENSOR = "a constant may be spelled in more ways; a tensor is one of them"


COMPATIBLE: dict[tuple[str, int], Reason] = {
    ("ArgMax", 12): Reason.DEFAULT,
    ("ArgMin", 12): Reason.DEFAULT,
    ("AveragePool", 7): Reason.DEFAULT,
    ("AveragePool", 10): Reason.DEFAULT,
    ("AveragePool", 19): Reason.DEFAULT,
    ("Cast", 19): Reason.TYPES,
    ("CastLike", 19): Reason.TYPES,
    ("Constant", 11): Reason.TENSOR,
    ("Constant", 12): Reason.TENSOR,
    ("DepthToSpace", 11): Reason.DEFAULT,
    ("DequantizeLinear", 13): Reason.DEFAULT,
    ("DequantizeLinear", 21): Reason.DEFAULT,
    ("DequantizeLinear", 23): Reason.DEFAULT,
    ("GRU", 3): Reason.DEFAULT,
    ("GRU", 14): Reason.DEFAULT,
    ("GatherND", 12): Reason.DEFAULT,
    ("Gemm", 11): Reason.OPTIONAL,
    ("LSTM", 14): Reason.DEFAULT,
    ("LpPool", 18): Reason.DEFAULT,
    ("MaxPool", 8): Reason.DEFAULT,
    ("MaxPool", 10): Reason.DEFAULT,
    ("OptionalHasElement", 18): Reason.OPTIONAL,
    ("Pad", 18): Reason.DEFAULT,
    ("QuantizeLinear", 13): Reason.DEFAULT,
    ("QuantizeLinear", 19): Reason.TYPES,
    ("QuantizeLinear", 21): Reason.DEFAULT,
    ("QuantizeLinear", 23): Reason.DEFAULT,
    ("RNN", 14): Reason.DEFAULT,
    ("Reshape", 14): Reason.DEFAULT,
    ("Resize", 18): Reason.DEFAULT,
    ("ScatterElements", 16): Reason.DEFAULT,
    ("ScatterND", 16): Reason.DEFAULT,
    ("Shape", 15): Reason.DEFAULT,
    ("TopK", 11): Reason.DEFAULT,
}
