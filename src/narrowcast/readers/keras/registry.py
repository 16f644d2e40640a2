"""The layers that can be read: one decorated function each, found by listing the folder `layers`.

A function for a layer class of your own can be registered in the same way before the file is read::

    from narrowcast.readers.keras.registry import layer

    @layer("Scale", weights=("gain",))
    def scale(g, layer, weights, inputs):
        return g.pointwise("Mul", inputs.x, g.constant(weights["gain"], "gain"))
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

from narrowcast._extras import modules_of
from narrowcast.errors import ModelFileError, UnsupportedOpError
from narrowcast.readers.emit import Tensor
from narrowcast.readers.keras.config import LayerConfig
from narrowcast.readers.keras.emit import Emitter, Weights

__all__ = ["TF_FUNCTIONS", "WAY_OUT", "Inputs", "Spec", "Weights", "find", "layer", "operation", "unsupported"]


TF_FUNCTIONS = frozenset({"TFOpLambda", "SlicingOpLambda"})
"""The layers as which Keras 2 keeps functions of TensorFlow."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a layer is called with.

    Attributes:
        args: positional arguments, tensors as `Tensor`.
        kwargs: keyword arguments, those that are None left out.
    """

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]

    @classmethod
    def of(cls, *args: Any, **kwargs: Any) -> Inputs:
        """What a call with these arguments hands over."""
        return cls(args, kwargs)

    @property
    def tensors(self) -> list[Tensor]:
        """All tensors among the positional arguments, nested lists flattened."""
        return [item for item in _flat(self.args) if isinstance(item, Tensor)]

    @property
    def operands(self) -> list[Any]:
        """Tensors and literal numbers among the positional arguments, nested lists flattened."""
        return [item for item in _flat(self.args) if item is not None]

    @property
    def x(self) -> Tensor:
        """The one input of a layer that has one.

        Raises:
            ModelFileError: there is none, or there are several.
        """
        tensors = self.tensors
        if len(tensors) != 1:
            raise ModelFileError(f"called with {len(tensors)} tensors, one was expected")
        return tensors[0]


def _flat(item: Any) -> list[Any]:
    if isinstance(item, list | tuple):
        return [leaf for part in item for leaf in _flat(part)]
    return [item]


Reader: TypeAlias = Callable[[Emitter, LayerConfig, Weights, Inputs], "Tensor | Sequence[Tensor]"]
Slots: TypeAlias = "Sequence[str] | Callable[[LayerConfig], Sequence[str]]"


@dataclass(frozen=True, slots=True)
class Spec:
    """How a layer class is read.

    Attributes:
        read: emits the nodes.
        slots: names of the variables in the order in which Keras tracks them, "part/name" for those of a sublayer held
            in the attribute `part`, "~name" for those that are never trained.
        masks: what becomes of a Keras mask, an input's `Tensor.mask`: "pass" hands it on, "drop" forgets it, "use" has
            an effect that the function knows, "refuse" one that it does not know.
        arguments: keyword arguments of the call that the function understands.
    """

    read: Reader
    slots: Slots = ()
    masks: str = "drop"
    arguments: tuple[str, ...] = ()

    def variables(self, layer: LayerConfig) -> Sequence[str]:
        """The slots of one configured layer."""
        return self.slots(layer) if callable(self.slots) else self.slots


_LAYERS: dict[str, Spec] = {}
_OPERATIONS: dict[str, Spec] = {}


def layer(
    *kinds: str, weights: Slots = (), masks: str = "drop", arguments: tuple[str, ...] = ()
) -> Callable[[Reader], Reader]:
    """Registers the decorated function for layer classes.

    Args:
        kinds: class names, the first Keras 3's, others older ones.
        weights: see `Spec.slots`; a function of the layer's configuration where it depends on that.
        masks: see `Spec.masks`.
        arguments: see `Spec.arguments`.

    Raises:
        ValueError: a class is registered already.
    """
    return _register(_LAYERS, kinds, lambda read: Spec(read, weights, masks, arguments))


def operation(*kinds: str) -> Callable[[Reader], Reader]:
    """Registers the decorated function for functions of `keras.ops` (by class name) or TensorFlow ("math.add").

    Raises:
        ValueError: one is registered already.
    """
    return _register(_OPERATIONS, kinds, Spec)


def _register(
    table: dict[str, Spec], kinds: tuple[str, ...], spec: Callable[[Reader], Spec]
) -> Callable[[Reader], Reader]:
    def register(read: Reader) -> Reader:
        for kind in kinds:
            if kind in table:
                raise ValueError(f"{kind} is registered twice")
            table[kind] = spec(read)
        return read

    return register


def find(config: LayerConfig) -> Spec | None:
    """The specification of a layer or operation, None where there is none."""
    _load()
    if config.operation:
        return _OPERATIONS.get(config.kind)
    if config.kind in TF_FUNCTIONS:
        return _OPERATIONS.get(str(config.get("function")))
    return _LAYERS.get(config.kind)


@cache
def _load() -> None:
    modules_of(importlib.import_module("narrowcast.readers.keras.layers"))


WAY_OUT: Mapping[int, str] = {
    2: "load the model with tf_keras, model.export('folder'), and make ONNX of that: "
    "python -m tf2onnx.convert --saved-model folder --output model.onnx",
    3: "export the model from Keras with model.export('model.onnx', format='onnx') and convert that",
}
"""By the generation of Keras, what leads past this reader; Keras 3 loads no Keras 2 file with TensorFlow functions."""


def unsupported(what: str, hint: str = "") -> UnsupportedOpError:
    """An error about the layer at hand; the network adds its place, and the `WAY_OUT` for want of another hint."""
    return UnsupportedOpError(what, hint=hint)
