"""Operators on each element by itself, with numpy's broadcasting."""

from __future__ import annotations

import numpy as np

from narrowcast.model import ir
from narrowcast.readers.emit import Tensor, permuted, to_first
from narrowcast.readers.tflite.registry import Site, reads

_BINARY = {"ADD": "Add", "SUB": "Sub", "MUL": "Mul", "DIV": "Div"}
_UNARY = {
    "RELU": "Relu", "LOGISTIC": "Sigmoid", "TANH": "Tanh", "ABS": "Abs", "EXP": "Exp", "LOG": "Log", "SQRT": "Sqrt",
    "NEG": "Neg", "SIN": "Sin", "COS": "Cos", "FLOOR": "Floor", "CEIL": "Ceil", "ROUND": "Round", "ELU": "Elu",
}  # fmt: skip
_CLIPS = {"RELU6": (0.0, 6.0), "RELU_N1_TO_1": (-1.0, 1.0), "RELU_0_TO_1": (0.0, 1.0)}


@reads(*_BINARY)
def binary(site: Site) -> Tensor:
    """Arithmetic, with an activation."""
    return site.activated(site.g.pointwise(_BINARY[site.operator.name], *site.inputs))


@reads(*_UNARY)
def unary(site: Site) -> Tensor:
    """A function of one number."""
    return site.g.pointwise(_UNARY[site.operator.name], site.input(0))


@reads(*_CLIPS)
def clip(site: Site) -> Tensor:
    """Between two numbers."""
    return site.g.pointwise("Clip", site.input(0), *_CLIPS[site.operator.name])


@reads("QUANTIZE")
def quantize(site: Site) -> Tensor:
    """Real numbers to integers, or integers to those of another scale."""
    x = site.input(0)
    return Tensor(x.shape, x.dtype, x.value, x.first)


@reads("DEQUANTIZE")
def dequantize(site: Site) -> Tensor:
    """Integers or half floats to real numbers."""
    x = site.input(0)
    if x.dtype == np.float16:
        return site.g.pointwise("Cast", x, dtype=np.float32, to=int(ir.DataType.FLOAT))
    return Tensor(x.shape, x.dtype, x.value, x.first)


@reads("SOFTMAX")
def softmax(site: Site) -> Tensor:
    """Along the last axis, of numbers that are multiplied by beta before."""
    g, x = site.g, site.input(0)
    beta = float(site.option("beta", 1.0))
    if beta != 1.0:
        x = g.pointwise("Mul", x, beta)
    value, axis, first = g.axis_of(x, -1)
    shape = permuted(x.shape, to_first(x.rank)) if first else x.shape
    return g.like(g.raw("Softmax", value, shape=shape, dtype=x.dtype, axis=axis), x.shape, x.dtype, first)
