"""Layers that combine several tensors."""

from __future__ import annotations

from narrowcast.errors import ModelFileError
from narrowcast.readers.keras.config import LayerConfig
from narrowcast.readers.keras.emit import Emitter, Tensor, Weights
from narrowcast.readers.keras.registry import Inputs, layer


def aligned(g: Emitter, tensors: list[Tensor]) -> list[Tensor]:
    """Tensors of equal rank: as Keras does, axes of 1 are put behind the batch of those that have fewer."""
    rank = max((tensor.rank for tensor in tensors), default=0)
    return [
        tensor
        if tensor.rank == rank
        else g.reshape(tensor, (tensor.shape[0], *(1,) * (rank - tensor.rank), *tensor.shape[1:]))
        for tensor in tensors
    ]


def _fold(g: Emitter, op: str, inputs: Inputs) -> Tensor:
    tensors = aligned(g, inputs.tensors)
    if not tensors:
        raise ModelFileError("called without tensors")
    made = tensors[0]
    for tensor in tensors[1:]:
        made = g.pointwise(op, made, tensor)
    return made


@layer("Add", masks="pass")
def add(g: Emitter, _layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """The sum."""
    return _fold(g, "Add", inputs)


@layer("Subtract", masks="pass")
def subtract(g: Emitter, _layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """The difference of two tensors."""
    return _fold(g, "Sub", inputs)


@layer("Multiply", masks="pass")
def multiply(g: Emitter, _layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """The product, element by element."""
    return _fold(g, "Mul", inputs)


@layer("Maximum", masks="pass")
def maximum(g: Emitter, _layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """The largest, element by element."""
    return _fold(g, "Max", inputs)


@layer("Minimum", masks="pass")
def minimum(g: Emitter, _layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """The smallest, element by element."""
    return _fold(g, "Min", inputs)


@layer("Average", masks="pass")
def average(g: Emitter, _layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """The mean, element by element."""
    return g.pointwise("Mul", _fold(g, "Add", inputs), 1 / len(inputs.tensors))


@layer("Concatenate", masks="pass")
def concatenate(g: Emitter, layer: LayerConfig, _weights: Weights, inputs: Inputs) -> Tensor:
    """The tensors joined along an axis."""
    tensors = inputs.tensors
    if not tensors:
        raise ModelFileError("called without tensors")
    return g.concat(tensors, layer.integer("axis", -1))
