"""`Site`: what a reading function sees of its operator, and the register of these functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np

from narrowcast._extras import modules_of
from narrowcast.errors import ModelFileError, UnsupportedOpError
from narrowcast.model import Array, ir
from narrowcast.readers.emit import Dim, Shape, Tensor
from narrowcast.readers.tflite import file
from narrowcast.readers.tflite.emit import Emitter, activated, static, storage_of
from narrowcast.targets.spelling import dequantizer, note_explicit

if TYPE_CHECKING:
    from narrowcast.readers.tflite.network import Network

__all__ = ["CUSTOM", "KNOWN", "READERS", "Made", "Site", "knows", "load_operators", "reads", "reads_custom"]

Made: TypeAlias = "Tensor | Sequence[Tensor]"
ReadFunction: TypeAlias = "Callable[[Site], Made]"
KnowFunction: TypeAlias = "Callable[[Site], Sequence[Array | None]]"
_Function = TypeVar("_Function")
READERS: dict[str, ReadFunction] = {}
"""By the schema's name of a builtin operator."""
CUSTOM: dict[str, ReadFunction] = {}
"""By a custom operator's own name."""

KNOWN: dict[str, KnowFunction] = {}
"""By the schema's name: what an operator's outputs hold, where that is known while it is read; see `ops.known`."""


def reads(*names: str) -> Callable[[ReadFunction], ReadFunction]:
    """Registers the function that reads builtin operators; a second registration of one raises."""
    return _registered(READERS, names)


def reads_custom(*names: str) -> Callable[[ReadFunction], ReadFunction]:
    """Registers the function that reads custom operators; a second registration of one raises."""
    return _registered(CUSTOM, names)


def knows(*names: str) -> Callable[[KnowFunction], KnowFunction]:
    """Registers the function that says what builtin operators give; a second registration of one raises."""
    return _registered(KNOWN, names)


def _registered(table: dict[str, _Function], names: Sequence[str]) -> Callable[[_Function], _Function]:
    def register(function: _Function) -> _Function:
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

    modules_of(ops)


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

    @property
    def raw_inputs(self) -> list[Tensor]:
        """All inputs, as they are stored."""
        return [self.network.raw(self.stored(index).index) for index in range(len(self.operator.inputs))]

    def read_outputs(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """What outputs mean, given as they are stored.

        Raises:
            ModelFileError: there are more or fewer.
        """
        outputs = self.operator.outputs
        if len(outputs) != len(tensors):
            raise ModelFileError(f"it has {len(outputs)} outputs, and its subgraph gives {len(tensors)}")
        return [self.network.meaning(index, tensor) for index, tensor in zip(outputs, tensors, strict=True)]

    def ranked(self, index: int, rank: int) -> Tensor:
        """An input with axes of size 1 in front of it, as broadcasting has them."""
        x = self.input(index)
        return self.g.reshape(x, (1,) * (rank - x.rank) + x.shape)

    @property
    def alike(self) -> list[Tensor]:
        """All inputs, with as many axes as the one that has most."""
        rank = max(x.rank for x in self.inputs)
        return [self.ranked(index, rank) for index in range(len(self.operator.inputs))]

    def known(self, index: int) -> Array | None:
        """What an input holds, where that is known: integers, or the names of open dimensions among them."""
        return self.network.known(self.stored(index).index)

    def dims(self, index: int) -> list[Dim]:
        """An argument that is a list of sizes; the names of open dimensions may be among them.

        Raises:
            UnsupportedOpError: it is computed from the data.
        """
        found = self.known(index)
        if found is None:
            raise UnsupportedOpError(f"its argument {self.stored(index).name!r} is computed", hint="make it constant")
        return [item if isinstance(item, str) else int(item) for item in found.reshape(-1).tolist()]

    def ints(self, index: int) -> list[int]:
        """An argument that is a list of integers: axes, amounts, sizes.

        Raises:
            UnsupportedOpError: it is computed, or depends on an open dimension.
        """
        found = self.dims(index)
        name = next((item for item in found if isinstance(item, str)), None)
        if name is not None:
            raise UnsupportedOpError(f"its argument depends on the open dimension {name}", hint="fix it: --batch 1")
        return [item for item in found if isinstance(item, int)]

    def number(self, index: int) -> int:
        """An argument that is one integer.

        Raises:
            ModelFileError: it is several.
        """
        found = self.ints(index)
        if len(found) != 1:
            raise ModelFileError(f"its argument {self.stored(index).name!r} is no single number")
        return found[0]

    def numbers(self, index: int) -> Array:
        """An argument that is constant, as it is stored.

        Raises:
            UnsupportedOpError: it is computed.
        """
        found = self.network.constant(self.stored(index).index)
        array = None if found is None else found.array
        if array is None:
            raise UnsupportedOpError(f"its argument {self.stored(index).name!r} is computed", hint="make it constant")
        return array

    def weights(self, index: int, order: Sequence[int]) -> tuple[tuple[int, ...], ir.Value]:
        """Weights with their axes in another order: their shape then, and their value."""
        stored = self.network.constant(self.stored(index).index)
        if stored is None or stored.array is None:
            made = self.g.transpose(self.input(index), order)
            return static(made.shape), self.g.plain(made)
        name = stored.name or "weights"
        if stored.blocks is not None and list(order) == [0, 1]:
            return stored.shape, self.g.in_blocks(stored.array, *self.network.scales_of(stored), name)
        array, found = stored.array.transpose(order), storage_of(stored)
        axis = list(order).index(found.axis) if found is not None else 0
        value = self.g.weights(array, found, axis, name, few=stored.type == "INT4")
        if stored.index != self.stored(index).index and dequantizer(value) is not None:
            note_explicit(value)
        return array.shape, value

    def storage(self, index: int) -> file.Quantization | None:
        """The scales of an input that is stored in integers."""
        stored = self.network.constant(self.stored(index).index)
        return storage_of(self.stored(index) if stored is None else stored)

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

    def flag(self, name: str) -> bool:
        """A field of the options that is true or false."""
        return bool(self.option(name, default=False))

    def typed(self, x: Tensor) -> Tensor:
        """A tensor in the type that the first output has."""
        return self.g.cast(x, self.output_dtype)

    def activated(self, x: Tensor) -> Tensor:
        """A tensor after the fused activation."""
        return activated(self.g, x, self.word("fused_activation_function", "NONE"))

    def shape(self, index: int) -> Shape:
        """The shape of an input."""
        return self.input(index).shape
