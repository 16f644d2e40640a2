"""Emits ONNX nodes for Keras layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from narrowcast.dialect.build import Builder
from narrowcast.model import Array
from narrowcast.readers.emit import ChannelLast, Tensor
from narrowcast.readers.keras.config import LayerConfig

__all__ = ["Emitter", "Weights"]

Weights: TypeAlias = Mapping[str, Array]
"""A layer's arrays, by the names of its slots, in float32."""


class Emitter(ChannelLast):
    """Appends the nodes of layers to a graph.

    Attributes:
        weights: the arrays of every layer, by its path.
        call: applies a layer (that a wrapper holds) to inputs; set by the network.
    """

    def __init__(self, build: Builder, weights: Mapping[str, Weights]) -> None:
        super().__init__(build)
        self.weights = weights
        self.call: Callable[[LayerConfig, Any], list[Tensor]]
