"""Elementwise operators: most differ in nothing but their names, and a table says which."""

from __future__ import annotations

import numpy as np

from narrowcast.dialect.build import scalar_of
from narrowcast.model import NARROWCAST, ir
from narrowcast.passes.fuse.clip import bounds_of
from narrowcast.targets.groups import activation_of
from narrowcast.targets.spelling import noted_operator
from narrowcast.writers.tflite.site import ACTIVATIONS, SQUARED, Site, lowers
from narrowcast.writers.tflite.tables import TYPES

UNARY = {
    "Abs": ("ABS", None),
    "Neg": ("NEG", "NegOptions"),
    "Exp": ("EXP", "ExpOptions"),
    "Log": ("LOG", None),
    "Sqrt": ("SQRT", None),
    "Sin": ("SIN", None),
    "Cos": ("COS", "CosOptions"),
    "Floor": ("FLOOR", None),
    "Ceil": ("CEIL", None),
    "Round": ("ROUND", None),
    "Sign": ("SIGN", None),
    "Sigmoid": ("LOGISTIC", None),
    "Tanh": ("TANH", None),
    "Relu": ("RELU", None),
    "Not": ("LOGICAL_NOT", "LogicalNotOptions"),
    "HardSwish": ("HARD_SWISH", "HardSwishOptions"),
}
BINARY = {
    "Add": ("ADD", "AddOptions"),
    "Sub": ("SUB", "SubOptions"),
    "Mul": ("MUL", "MulOptions"),
    "Div": ("DIV", "DivOptions"),
    "Pow": ("POW", "PowOptions"),
    "Max": ("MAXIMUM", "MaximumMinimumOptions"),
    "Min": ("MINIMUM", "MaximumMinimumOptions"),
    "Equal": ("EQUAL", "EqualOptions"),
    "Greater": ("GREATER", "GreaterOptions"),
    "GreaterOrEqual": ("GREATER_EQUAL", "GreaterEqualOptions"),
    "Less": ("LESS", "LessOptions"),
    "LessOrEqual": ("LESS_EQUAL", "LessEqualOptions"),
    "And": ("LOGICAL_AND", "LogicalAndOptions"),
    "Or": ("LOGICAL_OR", "LogicalOrOptions"),
    "BitwiseXor": ("BITWISE_XOR", None),
}
FUSING = frozenset({"Add", "Sub", "Mul", "Div"})


@lowers(*UNARY)
def unary(site: Site) -> None:
    """One input, one output, no arguments."""
    site.allow()
    name, options = UNARY[site.node.op_type]
    site.emit(name, [site.input(0)], [site.output()], options)


@lowers(*BINARY)
def binary(site: Site) -> None:
    """Two operands, broadcast; arithmetic fuses its activation."""
    site.allow()
    name, options = BINARY[site.node.op_type]
    if name == "POW" and scalar_of(site.value(1)) == -0.5:
        site.emit("RSQRT", [site.input(0)], [site.output()])
        return
    difference = site.value(0).producer()
    if noted_operator(site.node) == SQUARED and difference is not None:
        operands = [site.lowering.floating(value) for value in difference.inputs if value is not None]
        site.emit(SQUARED, operands, [site.output()])
        return
    values = {"fusedActivationFunction": site.activation} if site.node.op_type in FUSING else {}
    if name in ("ADD", "SUB"):
        values["potScaleInt16"] = False
    site.emit(name, [site.input(0), site.input(1)], [site.output()], options, **values)


@lowers("BitShift")
def shift(site: Site) -> None:
    """RIGHT_SHIFT."""
    site.allow("direction")
    site.emit("RIGHT_SHIFT", [site.input(0), site.input(1)], [site.output()])


@lowers("Clip")
def clip(site: Site) -> None:
    """RELU6 and its kin by name, other bounds by MAXIMUM and MINIMUM."""
    site.allow()
    name = activation_of(site.node)
    bounds = bounds_of(site.node)
    if name and name in ACTIVATIONS:
        site.emit(ACTIVATIONS[site.reached(name)].replace("NONE", "QUANTIZE"), [site.input(0)], [site.output()])
        return
    if bounds == (0.0, 1.0) and not site.integer:
        site.emit("RELU_0_TO_1", [site.input(0)], [site.output()])
        return
    assert bounds is not None
    source = site.input(0)
    steps = [("MAXIMUM", bounds[0]), ("MINIMUM", bounds[1])]
    kept = [(step, bound) for step, bound in steps if np.isfinite(bound)]
    for index, (step, bound) in enumerate(kept):
        result = site.output() if index == len(kept) - 1 else site.scratch(site.output_shape(), source)
        site.emit(step, [source, _number(site, bound, source)], [result], "MaximumMinimumOptions")
        source = result


def _number(site: Site, number: float, like: int) -> int:
    """A constant of the type, and for integers the scale, of a tensor."""
    tensor = site.lowering.container.tensors[like]
    quantization = tensor.quantization
    if quantization is None:
        return site.lowering.constant(np.array([number], tensor.dtype), "number")
    info = np.iinfo(tensor.dtype)
    stored = np.clip(np.rint(number / quantization.scale[0]) + quantization.zero_point[0], info.min, info.max)
    return site.lowering.constant(np.array([stored]).astype(tensor.dtype), "number", quantization)


@lowers("Identity")
def identity(site: Site) -> None:
    """An output that is also an input, or is there twice: a RESHAPE to the same shape."""
    shape = site.output_shape()
    site.emit("RESHAPE", [site.input(0), site.ints(shape)], [site.output()], "ReshapeOptions", newShape=list(shape))


@lowers("LeakyRelu")
def leaky_relu(site: Site) -> None:
    """LEAKY_RELU."""
    site.allow("alpha")
    alpha = site.node.attributes.get_float("alpha", 0.01)
    site.emit("LEAKY_RELU", [site.input(0)], [site.output()], "LeakyReluOptions", alpha=alpha)


@lowers("Elu")
def elu(site: Site) -> None:
    """ELU, whose alpha is 1."""
    site.allow("alpha")
    site.emit("ELU", [site.input(0)], [site.output()])


@lowers("PRelu")
def prelu(site: Site) -> None:
    """PRELU; the slopes broadcast."""
    site.allow()
    site.emit("PRELU", [site.input(0), site.input(1)], [site.output()])


@lowers("Gelu")
def gelu(site: Site) -> None:
    """GELU by erf, or by tanh."""
    site.allow("approximate")
    approximate = site.node.attributes.get_string("approximate", "none") == "tanh"
    site.emit("GELU", [site.input(0)], [site.output()], "GeluOptions", approximate=approximate)


@lowers("Where")
def where(site: Site) -> None:
    """SELECT_V2."""
    site.emit("SELECT_V2", [site.input(0), site.input(1), site.input(2)], [site.output()], "SelectV2Options")


@lowers("Cast")
def cast(site: Site) -> None:
    """CAST between the types of tensors; BITCAST between uint64, which CAST does not know, and int64."""
    site.allow("to", "saturate", "round_mode")
    source, target = site.value(0).dtype, site.node.outputs[0].dtype
    assert source is not None
    assert target is not None
    if {source, target} == {ir.DataType.INT64, ir.DataType.UINT64}:
        site.emit("BITCAST", [site.input(0)], [site.output()])
        return
    site.emit(
        "CAST",
        [site.input(0)],
        [site.output()],
        "CastOptions",
        inDataType=TYPES[source.numpy()],
        outDataType=TYPES[target.numpy()],
    )


@lowers("BitCast", domain=NARROWCAST)
def bit_cast(site: Site) -> None:
    """BITCAST."""
    site.emit("BITCAST", [site.input(0)], [site.output()])


@lowers("Mod")
def modulo(site: Site) -> None:
    """FLOOR_MOD: the divisor's sign."""
    site.emit("FLOOR_MOD", [site.input(0), site.input(1)], [site.output()], "FloorModOptions")


__all__ = ["BINARY", "UNARY"]
