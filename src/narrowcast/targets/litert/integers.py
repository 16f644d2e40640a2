"""LiteRT's published 8-bit and 16x8 rules of quantisation, by operators of the canonical dialect.

Sources: ai.google.dev/edge/litert/models/quantization_spec, tensorflow/lite/tools/optimize/operator_property.cc, and
the kernels' Prepare functions, which win where they differ (a 16-bit LOGISTIC has scale 1/32768).

A 16-bit SOFTMAX is only read: its table of exponentials ends at exp(-10), so each class far below the best one adds
4.5e-5 to the sum. Of 1,000 classes that left 29 dB of a MobileNetV2's 71. The kernels of uint8, with weights of any
zero point for a whole tensor, are those of the files before 2019.
"""

from __future__ import annotations

from dataclasses import replace

from narrowcast.dialect.build import scalar_of
from narrowcast.dialect.recurrent import directions_of, steps_of
from narrowcast.model import ir
from narrowcast.targets.rules import FixedScale, OpRule, Sharing, Storage
from narrowcast.targets.spelling import dequantizer, is_symmetric

__all__ = ["INTEGERS"]

_SAME = OpRule(sharing=Sharing.SAME, data=(0,))
_SAME_8 = OpRule(sharing=Sharing.SAME, data=(0,), int16=False)
_ALL_SAME = OpRule(sharing=Sharing.SAME)
_OWN = OpRule()
_OWN_8 = OpRule(int16=False)
_ONE = OpRule(data=(0,))
_UNIT = FixedScale(int8=(1 / 256, -128), int16=(1 / 32768, 0))
_SIGNED = FixedScale(int8=(1 / 128, 0), int16=(1 / 32768, 0))
_LOGARITHM = FixedScale(int8=(16 / 256, 127), int16=(16 / 32768, 0))
_BLOCKS = 32
_RESCALE = 256.0
"""XNNPACK refuses the whole file where 8-bit products would be enlarged so much (found by running it)."""


def _no_volumes(node: ir.Node) -> str:
    """CONV_3D and its transpose have kernels for floats alone."""
    source = node.inputs[0]
    volumes = source is not None and source.shape is not None and len(source.shape) > 4
    return "LiteRT convolves volumes in floats only" if volumes else ""


def _made_for_integers(node: ir.Node) -> str:
    """The kernel has scales of its own for what is inside, which only a file that was calibrated so brings along."""
    if steps_of(node) is None or not node.attributes.get_int("stateful", 0):
        return "no scales of its gates and cells are known"
    weights = [value for part in directions_of("LSTM", node.inputs) for value in (*part.weights, *part.recurrent)]
    symmetric = all(value is None or (dequantizer(value) is not None and is_symmetric(value)) for value in weights)
    return "" if symmetric else "its weights are no integers without a zero point"


_READ = OpRule(int8=False, int16=False, uint8=False, data=(0,), only_read=frozenset({"int8"}))
"""Functions whose kernels look numbers up or approximate them: no better than floats, but a file may have them."""


def _reciprocal_root(node: ir.Node) -> str:
    """RSQRT is the only power in integers."""
    return "" if scalar_of(node.inputs[1]) == -0.5 else "LiteRT has integers for the power -0.5 only"


def _with_memory(node: ir.Node) -> str:
    """The kernel has a scale of its own for its memory, and asks for a Relu, which it leaves to the output's range."""
    if not node.attributes.get_float("state_scale", 0.0) or not all(map(dequantizer, node.inputs[1:3])):
        return "no scale of its memory is known"
    return "" if node.attributes.get_string("activation", "") == "Relu" else "its activation is no Relu"


def _convolves_int4(node: ir.Node, storage: Storage) -> str:
    """CONV_2D beside floats, int8 and int16; DEPTHWISE_CONV_2D beside int8 alone (the others run wrong, or not)."""
    if storage.block:
        return "LiteRT convolves by one scale for each channel"
    weights = node.inputs[1]
    depthwise = weights is not None and weights.shape is not None and weights.shape[1] == 1
    if storage.explicit or not depthwise or storage.activations == "int8":
        return ""
    return f"LiteRT has no depthwise kernel for weights of 4 bits beside {storage.activations}"


def _multiplies_int4(node: ir.Node, storage: Storage) -> str:
    """FULLY_CONNECTED beside all, blocks beside floats alone; weights that are operands have 8 bits."""
    weights = node.inputs[1]
    if weights is None or weights.shape is None or len(weights.shape) != 2:
        return "LiteRT multiplies two activations in 8 bits"
    if not storage.block:
        return ""
    inputs = weights.shape[1 if node.op_type == "Gemm" else 0]
    if storage.explicit or storage.activations != "float32":
        return "LiteRT has kernels for blocks in dynamic_range only"
    whole = isinstance(inputs, int) and inputs % storage.block == 0 and storage.block % _BLOCKS == 0
    return "" if whole else f"LiteRT's blocks are multiples of {_BLOCKS} that divide the inputs"


INTEGERS: dict[str, OpRule] = {
    **dict.fromkeys(("Abs", "Exp", "Log", "Sqrt"), _READ),
    "Pow": replace(_READ, fits=_reciprocal_root),
    "narrowcast::LSTM": OpRule(int16=False, uint8=False, data=(0,), hybrid=True, fits=_made_for_integers),
    "narrowcast::SVDF": OpRule(int16=False, uint8=False, data=(0,), hybrid=True, fits=_with_memory),
    "narrowcast::RNN": OpRule(int8=False, int16=False, uint8=False, data=(0,), hybrid=True),
    "Conv": OpRule(
        weights=(1, 0), bias=2, data=(0,), hybrid=True, fits=_no_volumes, int4=_convolves_int4, rescale=_RESCALE
    ),
    "ConvTranspose": OpRule(weights=(1, 1), bias=2, data=(0,), fits=_no_volumes, rescale=_RESCALE),
    "Gemm": OpRule(weights=(1, 0), bias=2, data=(0,), hybrid=True, int4=_multiplies_int4, rescale=_RESCALE),
    "MatMul": OpRule(uint8=False, weights=(1, 1), data=(0, 1), hybrid=True, int4=_multiplies_int4, rescale=_RESCALE),
    "Add": _OWN,
    "Sub": _OWN,
    "Mul": _OWN,
    "Relu": _ONE,
    "LeakyRelu": _ONE,
    "PRelu": _OWN_8,
    "HardSwish": OpRule(data=(0,), int16=False, rescale=128.0),
    "Gelu": OpRule(data=(0,), int16=False, uint8=False),
    "Elu": OpRule(data=(0,), int16=False, uint8=False),
    "Sigmoid": OpRule(sharing=Sharing.FIXED, fixed=_UNIT, data=(0,)),
    "Softmax": OpRule(sharing=Sharing.FIXED, fixed=_UNIT, data=(0,), int16=False, only_read=frozenset({"int16"})),
    "Tanh": OpRule(sharing=Sharing.FIXED, fixed=_SIGNED, data=(0,)),
    "LogSoftmax": OpRule(sharing=Sharing.FIXED, fixed=_LOGARITHM, data=(0,), int16=False),
    "LpNormalization": OpRule(sharing=Sharing.FIXED, fixed=_SIGNED, data=(0,), int16=False),
    "ReduceMean": _ONE,
    "ReduceSum": OpRule(data=(0,), int16=False),
    "ReduceMax": _SAME,
    "ReduceMin": _SAME,
    "ArgMax": OpRule(data=(0,), int16=False),
    "ArgMin": OpRule(data=(0,), int16=False),
    "Clip": _SAME,
    "Clip(0,6)": _ONE,
    "Clip(-1,1)": OpRule(data=(0,), int16=False),
    "Max": _ALL_SAME,
    "Min": _ALL_SAME,
    "MaxPool": _SAME,
    "AveragePool": _SAME,
    "Concat": OpRule(sharing=Sharing.SAME, apart=frozenset({"uint8"})),
    "Reshape": _SAME,
    "Transpose": _SAME,
    "Slice": _SAME,
    "Split": _SAME,
    "Pad": _SAME,
    "Gather": _SAME,
    "Expand": _SAME,
    "Tile": _SAME_8,
    "Resize": _SAME,
    "DepthToSpace": _SAME_8,
    "SpaceToDepth": _SAME_8,
}
