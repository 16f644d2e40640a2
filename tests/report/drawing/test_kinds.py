"""Kinds of operators, in the spelling of several formats."""

from __future__ import annotations

import pytest

from narrowcast.report.drawing.kinds import KINDS, kind_of

OPERATORS = {
    "convolution": "Conv ConvTranspose ConvInteger QLinearConv CONV_2D DEPTHWISE_CONV_2D TRANSPOSE_CONV "
    "CONV_3D_TRANSPOSE Convolution2DTransposeBias DeformConv STABLEHLO_CONVOLUTION",
    "dense": "Gemm MatMul MatMulInteger QLinearMatMul FULLY_CONNECTED BATCH_MATMUL Attention Einsum",
    "recurrent": "LSTM GRU RNN UNIDIRECTIONAL_SEQUENCE_LSTM narrowcast::LSTM SVDF",
    "activation": "Relu RELU6 PRelu LeakyRelu Sigmoid LOGISTIC HardSwish HARD_SWISH Softmax LogSoftmax Clip "
    "Tanh Gelu ELU",
    "pooling": "MaxPool AVERAGE_POOL_2D GlobalAveragePool MAX_POOL_2D MaxPoolingWithArgmax2D",
    "normalisation": "BatchNormalization LayerNormalization L2_NORMALIZATION LRN LpNormalization",
    "reduction": "ReduceMean MEAN ArgMax ARG_MAX TopK NonMaxSuppression",
    "movement": "Reshape Transpose Concat CONCATENATION Slice STRIDED_SLICE GatherND Pad MIRROR_PAD Resize "
    "RESIZE_BILINEAR DepthToSpace SPACE_TO_BATCH_ND Split UNPACK Flatten Unsqueeze",
    "quantisation": "QuantizeLinear DEQUANTIZE DynamicQuantizeLinear FAKE_QUANT Cast",
    "control": "If Loop WHILE CALL_ONCE narrowcast::Loop",
    "arithmetic": "Add Mul SUB Exp ABS own::Thing",
}


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind, names in OPERATORS.items() for name in names.split()]
)
def test_kinds(kind, name):
    assert kind_of(name) == kind
    assert kind in KINDS
