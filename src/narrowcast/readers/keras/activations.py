"""Keras's activation functions: one table for Activation layers and for every `activation=` argument.

Formulas: https://keras.io/api/layers/activations. Keras 2 and Keras 3 mean different functions by `hard_sigmoid`
(`clip(0.2 x + 0.5, 0, 1)` and `relu6(x + 3) / 6`); the file's generation decides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from narrowcast.errors import ModelFileError
from narrowcast.readers.emit import Tensor, permuted, to_first
from narrowcast.readers.keras.config import LayerConfig
from narrowcast.readers.keras.emit import Emitter
from narrowcast.readers.keras.registry import Inputs, unsupported

__all__ = ["activate", "activation_name", "clip", "softmax"]

Activation: TypeAlias = Callable[[Emitter, Tensor], Tensor]


def unary(op: str, **attributes: Any) -> Activation:
    """An activation that is one ONNX operator."""
    return lambda g, x: g.pointwise(op, x, **attributes)


def clip(g: Emitter, x: Tensor, low: float, high: float) -> Tensor:
    """`min(max(x, low), high)`."""
    bounds = [g.constant(bound, name, x.dtype) for bound, name in ((low, "low"), (high, "high"))]
    return g.pointwise("Clip", x, *bounds)


def softmax(g: Emitter, x: Tensor, axis: int = -1, op: str = "Softmax") -> Tensor:
    """Softmax (or LogSoftmax) along an axis."""
    value, position, first = g.axis_of(x, axis)
    shape = permuted(x.shape, to_first(x.rank)) if first else x.shape
    return g.like(g.raw(op, value, shape=shape, axis=position), x.shape, x.dtype, first)


def _relu6(g: Emitter, x: Tensor) -> Tensor:
    return clip(g, x, 0.0, 6.0)


def _swish(g: Emitter, x: Tensor) -> Tensor:
    return g.pointwise("Mul", x, g.pointwise("Sigmoid", x))


def _softmax_1d(g: Emitter, x: Tensor) -> Tensor:
    return softmax(g, x)


def _log_softmax(g: Emitter, x: Tensor) -> Tensor:
    return softmax(g, x, op="LogSoftmax")


def _tanh_shrink(g: Emitter, x: Tensor) -> Tensor:
    return g.pointwise("Sub", x, g.pointwise("Tanh", x))


def _log_sigmoid(g: Emitter, x: Tensor) -> Tensor:
    return g.pointwise("Neg", g.pointwise("Softplus", g.pointwise("Neg", x)))


def _hard_tanh(g: Emitter, x: Tensor) -> Tensor:
    return clip(g, x, -1.0, 1.0)


def _sparse_plus(g: Emitter, x: Tensor) -> Tensor:
    """0 below -1, x above 1, (x + 1)^2 / 4 between: with c = clip(x, -1, 1), (c + 1)^2 / 4 + max(x - 1, 0)."""
    inner = g.pointwise("Add", clip(g, x, -1.0, 1.0), 1.0)
    quadratic = g.pointwise("Mul", g.pointwise("Mul", inner, inner), 0.25)
    return g.pointwise("Add", quadratic, g.pointwise("Relu", g.pointwise("Sub", x, 1.0)))


def _sparse_sigmoid(g: Emitter, x: Tensor) -> Tensor:
    return clip(g, g.pointwise("Add", g.pointwise("Mul", x, 0.5), 0.5), 0.0, 1.0)


def _squareplus(g: Emitter, x: Tensor) -> Tensor:
    """(x + sqrt(x^2 + 4)) / 2."""
    root = g.pointwise("Sqrt", g.pointwise("Add", g.pointwise("Mul", x, x), 4.0))
    return g.pointwise("Mul", g.pointwise("Add", x, root), 0.5)


ACTIVATIONS: Mapping[str, Activation] = {
    "linear": lambda _, x: x,
    "relu": unary("Relu"),
    "relu6": _relu6,
    "leaky_relu": unary("LeakyRelu", alpha=0.2),
    "elu": unary("Elu"),
    "selu": unary("Selu"),
    "celu": unary("Celu"),
    "sigmoid": unary("Sigmoid"),
    "log_sigmoid": _log_sigmoid,
    "tanh": unary("Tanh"),
    "hard_tanh": _hard_tanh,
    "tanh_shrink": _tanh_shrink,
    "hard_shrink": unary("Shrink", lambd=0.5, bias=0.0),
    "soft_shrink": unary("Shrink", lambd=0.5, bias=0.5),
    "threshold": unary("ThresholdedRelu", alpha=0.0),
    "softplus": unary("Softplus"),
    "softsign": unary("Softsign"),
    "exponential": unary("Exp"),
    "gelu": unary("Gelu"),
    "silu": _swish,
    "swish": _swish,
    "mish": unary("Mish"),
    "hard_silu": unary("HardSwish"),
    "hard_swish": unary("HardSwish"),
    "softmax": _softmax_1d,
    "log_softmax": _log_softmax,
    "sparse_plus": _sparse_plus,
    "sparse_sigmoid": _sparse_sigmoid,
    "squareplus": _squareplus,
}

HARD_SIGMOID: Mapping[int, Activation] = {
    2: unary("HardSigmoid", alpha=0.2, beta=0.5),
    3: unary("HardSigmoid", alpha=1 / 6, beta=0.5),
}
"""By the generation of Keras."""


def activation_name(spec: Any) -> str | None:
    """The name of an activation in a configuration, None where it is a layer of its own.

    Args:
        spec: a name, or an object that serialises a function; None means linear.

    Raises:
        ModelFileError: it is neither.
    """
    if isinstance(spec, Mapping):
        if spec.get("class_name") == "function" and isinstance(spec.get("config"), str):
            spec = spec["config"]
        elif isinstance(spec.get("class_name"), str):
            return None
    if spec is None:
        return "linear"
    if not isinstance(spec, str):
        raise ModelFileError(f"the activation {str(spec)[:80]} is malformed")
    return spec.rpartition(">")[2].rpartition(".")[2]


def activate(g: Emitter, layer: LayerConfig, x: Tensor, key: str = "activation") -> Tensor:
    """Applies the activation that a layer's configuration names.

    Raises:
        UnsupportedOpError: nobody knows the function.
    """
    spec = layer.get(key)
    name = activation_name(spec)
    if name is None:
        return _as_layer(g, layer, spec, x)
    if name == "hard_sigmoid":
        return HARD_SIGMOID[layer.generation](g, x)
    function = ACTIVATIONS.get(name)
    if function is None:
        raise unsupported(f"the activation function {name} is unknown", "use a built-in activation")
    return function(g, x)


def _as_layer(g: Emitter, layer: LayerConfig, spec: Mapping[str, Any], x: Tensor) -> Tensor:
    """An activation that is a layer without weights, such as `LeakyReLU(0.1)`."""
    config = spec.get("config")
    kind = str(spec["class_name"]).rpartition(">")[2]
    if kind not in ("ReLU", "LeakyReLU", "ELU", "Softmax", "Activation", "ThresholdedReLU") or not isinstance(
        config, Mapping
    ):
        raise unsupported(f"a {kind} as its activation cannot be read", "apply it as a layer of its own")
    return g.call(LayerConfig(kind, kind, layer.path, config, layer.generation), Inputs.of(x))[0]
