"""A model in the making: tables of tensors, operators and buffers, and how they become a file.

Weights lie behind the tables and go to the file one by one. They are vectors of the flatbuffer as long as its 31-bit
offsets reach them; larger models have them outside, where `Buffer.offset` and `Buffer.size` point to them from the
beginning of the file.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np

from narrowcast.errors import UnsupportedOpError
from narrowcast.model import Array
from narrowcast.writers.tflite.elements import Elements, pieces
from narrowcast.writers.tflite.flatbuffer import ALIGNMENT, LENGTH, SIGNATURE, Graph, Parts, encode
from narrowcast.writers.tflite.tables import Operator, Tensor
from narrowcast.writers.tflite.versions import KNOWN, Use, minimum_runtime, version_of

__all__ = ["Container"]

LARGEST_INLINE = 2**31 - 2**26
"""Above this many bytes of weights, they are no part of the flatbuffer, which ends below 2^31 bytes."""

MOST_ELEMENTS = 2**31 - 1

_PROBES = 64
"""How many elements of an array are looked at to find arrays that may equal it."""


@dataclass(slots=True)
class Container:
    """One graph of a model: fill its tables and those of the graphs within, then `write` the outermost.

    Attributes:
        name: of the graph.
        signature: the key under which callers find it; empty for a branch or a loop's body.
        tensors, operators: in the order of their indices.
        inputs, outputs: (name in the signature, tensor index) of the graph's ports.
        metadata: entries by name.
        largest_inline: see `LARGEST_INLINE`.
        graphs: all of the model, the outermost first; they share metadata and buffers.
    """

    name: str = "main"
    signature: str = SIGNATURE
    tensors: list[Tensor] = field(default_factory=list)
    operators: list[Operator] = field(default_factory=list)
    inputs: list[tuple[str, int]] = field(default_factory=list)
    outputs: list[tuple[str, int]] = field(default_factory=list)
    metadata: dict[str, bytes] = field(default_factory=dict)
    largest_inline: int = LARGEST_INLINE
    graphs: list[Container] = field(default_factory=list, repr=False, compare=False)
    _buffers: list[Array | Elements] = field(default_factory=lambda: [np.empty(0, np.uint8)])
    _alike: dict[tuple[object, ...], list[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.graphs.append(self)

    def graph(self, name: str, signature: str = "") -> tuple[int, Container]:
        """Adds a graph for a branch or a loop's body, or one with a signature; returns its index too."""
        made = Container(name, signature, largest_inline=self.largest_inline, graphs=self.graphs)
        made.metadata = self.metadata
        made._buffers, made._alike = self._buffers, self._alike
        return len(self.graphs) - 1, made

    def buffer(self, data: Array | Elements) -> int:
        """The index of a buffer with the bytes of `data`; equal contents share one.

        Deferred elements are not read for that: they share a buffer only with the same tensor.
        """
        if isinstance(data, Elements) and data.is_deferred:
            key: tuple[object, ...] = (id(data.tensor), data.perm)
            alike = self._alike.setdefault(key, [])
        else:
            array = data.array() if isinstance(data, Elements) else data
            key = (array.nbytes, array.flat[:: array.size // _PROBES + 1].tobytes())
            alike = [index for index in self._alike.setdefault(key, []) if _same_bytes(self._buffers[index], array)]
            data = array
        if not alike:
            self._buffers.append(data)
            alike = [len(self._buffers) - 1]
            self._alike[key] += alike
        return alike[0]

    def tensor(self, tensor: Tensor) -> int:
        """Adds a tensor and returns its index.

        Raises:
            UnsupportedOpError: it has more elements than TFLite's 32-bit sizes can count.
        """
        if math.prod(max(dim, 1) for dim in tensor.shape) > MOST_ELEMENTS:
            raise UnsupportedOpError(
                f"{tensor.name!r} has the shape {list(tensor.shape)}, too large for TFLite's 32-bit sizes",
                hint="check the sizes of the inputs and the arguments that enlarge them",
            )
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def operator(
        self,
        name: str,
        inputs: Sequence[int],
        outputs: Sequence[int],
        options: Any = None,
        intermediates: Sequence[int] = (),
    ) -> None:
        """Appends an operator, in the lowest version that its tensors and options allow; bytes are a custom one's."""
        tensors = self.tensors
        if isinstance(options, bytes):
            self.operators.append(Operator(name, 1, tuple(inputs), tuple(outputs), options))
            return
        use = Use([tensors[i] if i >= 0 else None for i in inputs], [tensors[i] for i in outputs], options)
        self.operators.append(
            Operator(name, version_of(name, use), tuple(inputs), tuple(outputs), options, tuple(intermediates))
        )

    @property
    def codes(self) -> list[tuple[str, int]]:
        """The distinct operators and versions of all graphs, sorted."""
        return sorted({(operator.name, operator.version) for graph in self.graphs for operator in graph.operators})

    @property
    def _builtin_codes(self) -> list[tuple[str, int]]:
        """`codes` without custom operators, whose releases are others'."""
        return [code for code in self.codes if code[0] in KNOWN]

    def write(self, file: BinaryIO) -> None:
        """Writes the model from the file's present position, which must be its beginning."""
        self.metadata.setdefault("min_runtime_version", minimum_runtime(self._builtin_codes).encode().ljust(16, b"\0"))
        graphs = [
            Graph(graph.name, graph.signature, graph.tensors, graph.operators, graph.inputs, graph.outputs)
            for graph in self.graphs
        ]
        parts = Parts(graphs, self.codes, self.metadata, self._buffers)
        places, end = [], 0
        for data in self._buffers:
            places.append(_aligned(end + LENGTH) if data.nbytes else 0)
            end = max(places[-1] + data.nbytes, end)
        inside = end <= self.largest_inline
        beginning = None if inside else len(encode(parts, places, beginning=ALIGNMENT))
        file.write(encode(parts, places, beginning))
        end = 0
        for place, data in zip(places, self._buffers, strict=True):
            if data.nbytes:
                file.write(b"\0" * (place - LENGTH - end) + struct.pack("<I", data.nbytes if inside else 0))
                for piece in pieces(data.array() if isinstance(data, Elements) else data):
                    file.write(piece.data)
                end = place + data.nbytes


def _same_bytes(one: Array | Elements, other: Array) -> bool:
    return isinstance(one, np.ndarray) and all(map(np.array_equal, pieces(one), pieces(other)))


def _aligned(position: int) -> int:
    return -(-position // ALIGNMENT) * ALIGNMENT
