"""`Site`: what a reading function sees of its operator, and the register of these functions."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from narrowcast.errors import ModelFileError, UnsupportedOpError
from narrowcast.model import Array
from narrowcast.readers.emit import Shape, Tensor
from narrowcast.readers.tflite import file
from narrowcast.readers.tflite.emit import Emitter, activated, storage_of

if TYPE_CHECKING:
    from narrowcast.readers.tflite.network import Network

__all__ = ["CUSTOM", "READERS", "Made", "Site", "load_operators", "reads", "reads_custom"]

Made: TypeAlias = "Tensor | Sequence[Tensor]"
ReadFunction: TypeAlias = "Callable[[Site], Made]"
READERS: dict[str, ReadFunction] = {}
"""By the schema's name of a builtin operator."""
CUSTOM: dict[str, ReadFunction] = {}
"""By a custom operator's own name."""


def reads(*names: str) -> Callable[[ReadFunction], ReadFunction]:
    """Registers the function that reads builtin operators; a second registration of one raises."""
    return _registered(READERS, names)


def reads_custom(*names: str) -> Callable[[ReadFunction], ReadFunction]:
    """Registers the function that reads custom operators; a second registration of one raises."""
    return _registered(CUSTOM, names)


def _registered(table: dict[str, ReadFunction], names: Sequence[str]) -> Callable[[ReadFunction], ReadFunction]:
    def register(function: ReadFunction) -> ReadFunction:
        for name in names:
            if name in table:
                raise ValueError(f"{name} is read twice")
            table[name] = function
        return function

    return register


@cache
def load_operators() -> None:
    """Imports all modules of `ops`, so that they register what they read."""
    from narrowcast.readers.tflite import ops

    for info in pkgutil.iter_modules(ops.__path__):
        importlib.import_module(f"{ops.__name__}.{info.name}")


@dataclass(frozen=True, slots=True)
class Site:
    """What a reading function sees: one operator of a subgraph.

    A function gives a tensor for each output, of real numbers where the file stores integers by a scale: the network
    rounds them.
    """

    network: Network
    operator: file.Operator

    @property
    def g(self) -> Emitter:
        """Appends nodes."""
        return self.network.emit

    def has(self, index: int) -> bool:
        """Whether an optional input is there."""
        return index < len(self.operator.inputs) and self.operator.inputs[index] >= 0

    def stored(self, index: int) -> file.Tensor:
        """An input as the file has it.

        Raises:
            ModelFileError: it is left out.
        """
        if not self.has(index):
            raise ModelFileError(f"its input {index} is missing")
        return self.network.graph.tensors[self.operator.inputs[index]]

    def input(self, index: int) -> Tensor:
        """An input that must be there, as real numbers where it is stored by a scale."""
        return self.network.tensor(self.stored(index).index)

    @property
    def inputs(self) -> list[Tensor]:
        """All inputs."""
        return [self.input(index) for index in range(len(self.operator.inputs))]

    def array(self, index: int) -> Array:
        """A constant argument: axes, amounts, sizes; integers as they are stored.

        Raises:
            UnsupportedOpError: it is computed.
        """
        stored = self.stored(index)
        found = self.network.constant(stored.index)
        if found is None:
            raise UnsupportedOpError(f"its argument {stored.name!r} is computed", hint="make it constant")
        return found

    def ints(self, index: int) -> list[int]:
        """A constant argument as a list of integers."""
        return [int(item) for item in self.array(index).reshape(-1)]

    def storage(self, index: int) -> file.Quantization | None:
        """The scales of an input that is stored in integers."""
        return storage_of(self.stored(index))

    def output(self, index: int = 0) -> file.Tensor:
        """An output as the file has it.

        Raises:
            ModelFileError: there is none.
        """
        if index >= len(self.operator.outputs):
            raise ModelFileError(f"its output {index} is missing")
        return self.network.graph.tensors[self.operator.outputs[index]]

    @property
    def output_dtype(self) -> np.dtype[Any]:
        """The type of what is computed for the first output: float32 where it is stored by a scale."""
        output = self.output()
        return np.dtype(np.float32) if storage_of(output) is not None else output.dtype

    def option(self, name: str, default: Any = 0) -> Any:
        """A field of the operator's options; the default where it has none at all."""
        options = self.operator.options
        if options is None or name not in options.kind.fields:
            return default
        found = options[name]
        return default if found is None else found

    def word(self, name: str, default: str) -> str:
        """A field of the options that is one of an enumeration, by its name."""
        options = self.operator.options
        return default if options is None or name not in options.kind.fields else options.name_of(name)

    def activated(self, x: Tensor) -> Tensor:
        """A tensor after the fused activation."""
        return activated(self.g, x, self.word("fused_activation_function", "NONE"))

    def shape(self, index: int) -> Shape:
        """The shape of an input."""
        return self.input(index).shape
