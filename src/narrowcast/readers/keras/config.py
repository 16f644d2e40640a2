"""The configuration of a model as frozen dataclasses: layers, and the graph of calls that connects them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from narrowcast.errors import ModelFileError

__all__ = ["Call", "Graph", "LayerConfig", "Ref", "unwrap"]


@dataclass(frozen=True, slots=True)
class Ref:
    """A tensor of a graph: which output of which call of which layer."""

    layer: str
    call: int = 0
    tensor: int = 0


@dataclass(frozen=True, slots=True)
class Call:
    """One application of a layer.

    Attributes:
        layer: the layer's name within its graph.
        index: how many times it was called before.
        args: positional arguments, in which tensors are `Ref`.
        kwargs: keyword arguments, likewise.
    """

    layer: str
    index: int
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Graph:
    """The inside of a model: its layers in the order of the file, and the calls in an order that can be run."""

    layers: Mapping[str, LayerConfig]
    calls: tuple[Call, ...]
    inputs: tuple[Ref, ...]
    outputs: tuple[Ref, ...]


@dataclass(frozen=True, slots=True)
class LayerConfig:
    """A layer, an operation or a nested model, as configured.

    Attributes:
        kind: the class name, such as "Conv2D".
        name: unique within its graph.
        path: unique within the file: the names of all enclosing models and wrappers, joined by "/".
        config: the constructor's arguments.
        generation: 2 or 3, the Keras whose definitions hold.
        operation: whether this is a function of `keras.ops` rather than a layer.
        graph: of a nested model.
        inner: the layers that a wrapper holds, by attribute.
        shared: an id that all appearances of one layer object carry, if it appears more than once.
        built: the input shape that the layer was built with, where the file says.
    """

    kind: str
    name: str
    path: str
    config: Mapping[str, Any]
    generation: int
    operation: bool = False
    graph: Graph | None = None
    inner: Mapping[str, LayerConfig] = field(default_factory=dict)
    shared: int | None = None
    built: Any = None

    @property
    def trainable(self) -> bool:
        """Whether its weights count as trainable, which decides their order in whole-model files."""
        return self.config.get("trainable", True) is not False

    def get(self, key: str, default: Any = None) -> Any:
        """An argument, or `default` where it is missing."""
        return self.config.get(key, default)

    def flag(self, key: str, default: bool) -> bool:
        """A boolean argument."""
        value = self.config.get(key, default)
        return default if value is None else bool(value)

    def integer(self, key: str, default: int | None = None) -> int:
        """An integer argument.

        Raises:
            ModelFileError: it is missing without a default, or no integer.
        """
        value = self.config.get(key, default)
        if isinstance(value, list | tuple) and len(value) == 1:
            value = value[0]
        if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
            raise self._bad(key, value, "an integer")
        return int(value)

    def number(self, key: str, default: float) -> float:
        """A real argument; numbers that Keras wrapped as arrays are unwrapped."""
        value = self.config.get(key, default)
        value = default if value is None else unwrap(value)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._bad(key, value, "a number")
        return float(value)

    def text(self, key: str, default: str) -> str:
        """A string argument, in lower case."""
        value = self.config.get(key, default)
        if value is None:
            return default
        if not isinstance(value, str):
            raise self._bad(key, value, "a string")
        return value.lower()

    def integers(self, key: str, count: int, default: int = 1) -> tuple[int, ...]:
        """`count` integers; a single one stands for all."""
        value = self.config.get(key, default)
        value = default if value is None else value
        if isinstance(value, int) and not isinstance(value, bool):
            return (value,) * count
        if isinstance(value, list | tuple):
            if len(value) == 1:
                value = list(value) * count
            if len(value) == count and all(isinstance(item, int) for item in value):
                return tuple(value)
        raise self._bad(key, value, f"{count} integers")

    def _bad(self, key: str, value: Any, expected: str) -> ModelFileError:
        return ModelFileError(f"{key} is {str(value)[:80]!r}, not {expected}", where=f"{self.kind} {self.path}")


def unwrap(value: Any) -> Any:
    """The plain number or nested list within Keras's wrappings of numpy scalars, tuples and arrays."""
    while isinstance(value, Mapping):
        inner = value.get("value", value.get("items"))
        if inner is None:
            config = value.get("config")
            inner = config.get("value") if isinstance(config, Mapping) else config
        if inner is None:
            return None
        value = inner
    return value
