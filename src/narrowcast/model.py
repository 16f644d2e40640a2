"""`Model`: the one form in which a network travels between the rooms.

The graph is an `onnx_ir.Model` in the canonical dialect (docs/architecture.md): ONNX operators of opset `OPSET`,
channel-first semantics as ONNX defines them, constants as initialisers, inputs and outputs named and laid out as in
the source file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import TypeAlias

import numpy as np

from narrowcast._extras import defer_sympy
from narrowcast._files import Digest

defer_sympy()

import onnx_ir as ir  # noqa: E402

__all__ = [
    "CHANNELS_LAST",
    "NARROWCAST",
    "OPSET",
    "Array",
    "Feed",
    "Feeds",
    "Layout",
    "Model",
    "Preprocessing",
    "Provenance",
    "TensorSpec",
    "ir",
]

OPSET = 23
"""The ONNX operator set of every canonical graph."""

NARROWCAST = "narrowcast"
"""Domain of canonical operators that ONNX does not define."""

CHANNELS_LAST = "narrowcast.nhwc"
"""Domain of spatial operators after the layout pass: the ONNX operator of the same name on channel-last tensors."""

_Graph: TypeAlias = ir.Graph
_IrModel: TypeAlias = ir.Model
Array: TypeAlias = np.ndarray
Feed: TypeAlias = Mapping[str, Array]
"""One sample (one batch) for a model: an array for each input name."""
Feeds: TypeAlias = Iterable[Feed]


class Layout(Enum):
    """Where an image-like tensor keeps its channels."""

    CHANNELS_FIRST = "NCHW"
    CHANNELS_LAST = "NHWC"


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """An input or output of a model: its name, its shape (None for a dynamic dimension) and its numpy dtype."""

    name: str
    shape: tuple[int | None, ...]
    dtype: np.dtype


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How a photograph becomes the model's input.

    The central `crop` fraction of the short side is cut out, resized to the model's input (or to `resize`, height
    and width), put into `channel_order`, and each 8-bit value x becomes `(x - mean[c]) / std[c]`.

    Attributes:
        mean: one value, or one per channel in the order of `channel_order`, in units of 0..255.
        std: likewise, never zero.
        channel_order: "rgb", "bgr" or "gray".
        resize: height and width in pixels, or None for the model's own input size.
        crop: central fraction of the short side, in (0, 1]; None keeps the whole image.
    """

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    channel_order: str = "rgb"
    resize: tuple[int, int] | None = None
    crop: float | None = None


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a model came from.

    Attributes:
        path: the file it was read from, None for a model made in memory.
        format: the reader's name of the format ("keras", "onnx", ...).
        producer: what wrote the file, in its own words ("Keras 3.12.0", "pytorch 2.13.0").
        frozen: inputs of the file that were made constant, by name.
        beside: files that belong to this one: external data.
        digest: the SHA-256 of the file, and of those beside it.
        options: what the user chose on the way, where it is not the default; as JSON has it.
        notes: what the user should know of the file.
        edits: how the network was changed on the way, in order; as JSON has it.
        signature: by which a file of several graphs is asked for this one; empty for the first.
    """

    path: Path | None = None
    format: str = ""
    producer: str = ""
    frozen: Mapping[str, Array] = field(default_factory=dict)
    beside: tuple[Path, ...] = ()
    digest: Digest | None = None
    options: Mapping[str, object] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    edits: tuple[Mapping[str, object], ...] = ()
    signature: str = ""


@dataclass(slots=True)
class Model:
    """A network in the canonical dialect, with what is known about it.

    Steps that change a model work on a copy (`clone`) when they are public and in place when they are passes.

    Attributes:
        ir: the graph, its inputs and outputs named and ordered as in the source.
        preprocessing: how images become inputs, where that is known.
        labels: class names in output order, empty where unknown.
        provenance: the file the model came from.
        scheme: the name of the quantisation scheme that the graph carries; "float32" for an unquantised one.
        source: the float model that a quantised one was made from, which its files are compared with.
        variants: the same network at other sizes of its open dimensions, by their names ("256", "320x480"), for files
            that hold several graphs with shared weights.
        edited: the graph that stands for the source where that was edited: no runtime has the file for it.
        unedited: the model before an operator was substituted by one that computes something else, or before it was
            dequantised.
        ranges: of its activations, (low, high) by name, where its file says them.
    """

    ir: ir.Model
    preprocessing: Preprocessing | None = None
    labels: tuple[str, ...] = ()
    provenance: Provenance = field(default_factory=Provenance)
    scheme: str = "float32"
    source: Model | None = None
    variants: Mapping[str, Model] = field(default_factory=dict)
    edited: _IrModel | None = None
    unedited: Model | None = None
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def read(self) -> Model:
        """The quantised model that this one was dequantised from, or itself."""
        before = self.unedited
        return self if before is None or before.scheme == self.scheme else before

    @property
    def graph(self) -> _Graph:
        """The main graph."""
        return self.ir.graph

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The inputs that a caller must feed (initialisers are none), in order."""
        initializers = self.graph.initializers
        return tuple(_spec(value) for value in self.graph.inputs if value.name not in initializers)

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The outputs, in order."""
        return tuple(_spec(value) for value in self.graph.outputs)

    def clone(self) -> Model:
        """A copy whose graph can be changed freely; tensors of initialisers are shared, as they are immutable."""
        return replace(self, ir=self.ir.clone())


def _spec(value: ir.Value) -> TensorSpec:
    shape = tuple(dim if isinstance(dim, int) else None for dim in value.shape) if value.shape is not None else ()
    dtype = value.dtype.numpy() if value.dtype is not None else np.dtype(np.float32)
    return TensorSpec(value.name or "", shape, dtype)
