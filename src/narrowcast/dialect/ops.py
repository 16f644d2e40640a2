"""What a canonical graph may hold: each operator and how it behaves under a change of layout.

The layout pass is the only part of the tool that must know every operator's axes; a row here and, for a kind of its
own, one function in `passes/layout/rules.py` is all that it needs.
"""

from __future__ import annotations

from enum import Enum

from narrowcast.model import NARROWCAST, ir

__all__ = ["KEEP", "KEPT", "KINDS", "Kind", "kind_of"]


class Kind(Enum):
    """How an operator sees the axes of its tensors.

    ELEMENTWISE: any order, the same for all operands, with broadcasting.
    SPATIAL: batch, channel and spatial axes by position; targets want channels last.
    AXIS_ATTRIBUTE: one axis named by the attribute `axis`, all tensors of the same rank.
    AXES_INPUT: axes named by an input.
    PER_AXIS_INPUT: an input with one value (Pad: two) per axis.
    REDUCTION: axes vanish or become 1.
    SPECIAL: a rule of its own.
    LOGICAL: must be stored as the graph says.
    """

    ELEMENTWISE = "elementwise"
    SPATIAL = "spatial"
    AXIS_ATTRIBUTE = "axis attribute"
    AXES_INPUT = "axes input"
    PER_AXIS_INPUT = "per-axis input"
    REDUCTION = "reduction"
    SPECIAL = "special"
    LOGICAL = "logical"


_NAMES: dict[Kind, str] = {
    Kind.ELEMENTWISE: """
        Abs Acos Acosh Add And Asin Asinh Atan Atanh BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Cast CastLike
        Ceil Celu Clip Cos Cosh DequantizeLinear Div Elu Equal Erf Exp Floor Gelu Greater GreaterOrEqual HardSigmoid
        HardSwish Identity IsInf IsNaN LeakyRelu Less LessOrEqual Log Max Mean Min Mish Mod Mul Neg Not Or PRelu Pow
        QuantizeLinear
        Reciprocal Relu Round Selu Shrink Sigmoid Sign Sin Sinh Softplus Softsign Sqrt Sub Sum Swish Tan Tanh
        ThresholdedRelu Where Xor
    """,
    Kind.SPATIAL: "Conv ConvTranspose MaxPool AveragePool Resize DepthToSpace SpaceToDepth",
    Kind.AXIS_ATTRIBUTE: "Concat Split Softmax LogSoftmax Hardmax LpNormalization",
    Kind.AXES_INPUT: "Slice CumSum",
    Kind.PER_AXIS_INPUT: "Pad Tile Expand",
    Kind.REDUCTION: """
        ReduceMean ReduceSum ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 ReduceSumSquare ReduceLogSum
        ReduceLogSumExp ArgMax ArgMin
    """,
    Kind.SPECIAL: "Transpose Reshape Gemm MatMul Gather",
    Kind.LOGICAL: """
        BatchNormalization ConstantOfShape Einsum EyeLike GatherElements GatherND GridSample GroupNormalization
        InstanceNormalization LayerNormalization NonMaxSuppression NonZero OneHot RMSNormalization RandomNormal
        RandomUniform Range ReverseSequence ScatterElements ScatterND Shape Size TopK Trilu Unique If Loop Scan LSTM GRU
        RNN Attention RotaryEmbedding DFT STFT Compress LRN LpPool GlobalAveragePool GlobalMaxPool Flatten Squeeze
        Unsqueeze SoftmaxCrossEntropyLoss NegativeLogLikelihoodLoss CenterCropPad DynamicQuantizeLinear QLinearMatMul
        MatMulInteger ConvInteger QLinearConv GlobalLpPool MaxUnpool AffineGrid Col2Im MeanVarianceNormalization
        RoiAlign DeformConv Det BlackmanWindow HammingWindow HannWindow MelWeightMatrix TfIdfVectorizer
    """,
}

KINDS: dict[tuple[str, str], Kind] = {("", name): kind for kind, names in _NAMES.items() for name in names.split()}
KINDS[NARROWCAST, "Swish"] = KINDS[NARROWCAST, "BitCast"] = Kind.ELEMENTWISE
KINDS.update({(NARROWCAST, name): Kind.LOGICAL for name in ("If", "Loop", "LSTM", "RNN", "SVDF", "Magnitude")})
KEPT = ("MaxPoolWithArgmax", "MaxUnpool", "ConvTransposeBias", "DetectionPostProcess")
KINDS.update({(NARROWCAST, name): Kind.LOGICAL for name in KEPT})

KEEP = "keep"
"""The attribute of an operator of a file's own making (`KEPT`) that says to keep it where the target has it."""


def kind_of(node: ir.Node) -> Kind | None:
    """The kind of a node, None for an operator that the dialect does not know."""
    return KINDS.get((node.domain, node.op_type))
