"""Activations, and what goes along the last axis as they do."""

from __future__ import annotations

from narrowcast.readers.emit import Tensor, permuted, to_first
from narrowcast.readers.tflite.registry import Site, reads

_PLAIN = {"RELU": "Relu", "LOGISTIC": "Sigmoid", "TANH": "Tanh", "ELU": "Elu", "HARD_SWISH": "HardSwish"}
_CLIPS = {"RELU6": (0.0, 6.0), "RELU_N1_TO_1": (-1.0, 1.0), "RELU_0_TO_1": (0.0, 1.0)}
_ALONG = {"SOFTMAX": "Softmax", "LOG_SOFTMAX": "LogSoftmax", "L2_NORMALIZATION": "LpNormalization"}


@reads(*_PLAIN)
def activation(site: Site) -> Tensor:
    """A function without parameters."""
    return site.g.pointwise(_PLAIN[site.operator.name], site.input(0))


@reads(*_CLIPS)
def clip(site: Site) -> Tensor:
    """Between two numbers."""
    return site.g.pointwise("Clip", site.input(0), *_CLIPS[site.operator.name])


@reads("LEAKY_RELU")
def leaky_relu(site: Site) -> Tensor:
    """Negative numbers times alpha."""
    return site.g.pointwise("LeakyRelu", site.input(0), alpha=float(site.option("alpha")))


@reads("PRELU")
def prelu(site: Site) -> Tensor:
    """Negative numbers times another input."""
    return site.g.pointwise("PRelu", *site.alike)


@reads("GELU")
def gelu(site: Site) -> Tensor:
    """The number times the normal distribution's share below it, or an approximation by tanh."""
    return site.g.pointwise("Gelu", site.input(0), approximate="tanh" if site.flag("approximate") else "none")


@reads(*_ALONG)
def along_the_last(site: Site) -> Tensor:
    """Of all elements along the last axis together; SOFTMAX multiplies them by beta before."""
    g, x = site.g, site.input(0)
    beta = float(site.option("beta", 1.0))
    if beta != 1.0:
        x = g.pointwise("Mul", x, beta)
    value, axis, first = g.axis_of(x, -1)
    shape = permuted(x.shape, to_first(x.rank)) if first else x.shape
    made = g.raw(_ALONG[site.operator.name], value, shape=shape, dtype=x.dtype, axis=axis)
    return site.activated(g.like(made, x.shape, x.dtype, first))
