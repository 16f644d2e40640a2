"""What a network is made of, in the same words for every format: graphs, operators, tensors and their quantisation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from narrowcast.model import Array

__all__ = [
    "Described",
    "Network",
    "Operator",
    "Quantization",
    "Role",
    "Signature",
    "Subgraph",
    "Tensor",
    "Value",
    "Values",
    "Weights",
]

Value: TypeAlias = int | float | str | bool | tuple["Value", ...] | None
"""An attribute's value; what JSON has no form for is told in words."""

Role: TypeAlias = Literal["input", "constant", "variable", "captured", "activation"]


@dataclass(frozen=True, slots=True)
class Quantization:
    """How integers stand for numbers: real = (stored - zero_point) * scale.

    Attributes:
        scales: one, or one for each slice along `axis`.
        zero_points: likewise.
        axis: of the tensor, as the file stores it; None for one scale.
    """

    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    axis: int | None = None


@dataclass(frozen=True, slots=True)
class Weights:
    """What a constant holds, its integers taken as they are stored.

    Attributes:
        low, high: smallest and largest finite element.
        mean, deviation: of the finite elements.
        zeros: the share of elements that are zero.
        strange: how many are NaN or infinite.
        counts: of elements in equal intervals between `low` and `high`; of every n-th element where there are millions.
    """

    low: float
    high: float
    mean: float
    deviation: float
    zeros: float
    strange: int
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Tensor:
    """A value of a graph.

    Attributes:
        name: as the file has it, empty where it has none.
        shape: None for a dimension that is open; None for an unknown rank.
        dtype: in numpy's words where numpy has the type.
        role: what gives it its value: "captured" is an outer graph's, "variable" keeps it from run to run.
        bytes: of a constant, as it is stored.
        values: the elements of a small constant.
        weights: of a constant, where it was asked for.
    """

    name: str
    shape: tuple[int | None, ...] | None
    dtype: str
    role: Role = "activation"
    quantization: Quantization | None = None
    bytes: int | None = None
    values: Value = None
    weights: Weights | None = None


@dataclass(frozen=True, slots=True)
class Operator:
    """A node of a graph.

    Attributes:
        name: as the file has it, or of its first output.
        type: the operator's own name, behind its domain where that is not the format's own.
        inputs: indices of tensors; None for an operand that is left out.
        outputs: likewise.
        operands: what the format calls the inputs, as far as that is known.
        attributes: by name.
        subgraphs: attribute and index of each graph inside: branches, the body of a loop.
        captured: indices of tensors that the graphs inside read without being handed them.
    """

    name: str
    type: str
    inputs: tuple[int | None, ...]
    outputs: tuple[int | None, ...]
    operands: tuple[str, ...] = ()
    attributes: Mapping[str, Value] = field(default_factory=dict)
    subgraphs: tuple[tuple[str, int], ...] = ()
    captured: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Subgraph:
    """One graph: its operators in the order in which they run, and its tensors, to which all indices refer."""

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]


@dataclass(frozen=True, slots=True)
class Signature:
    """A way to call a graph: names for its inputs and outputs, with the tensors that they stand for."""

    key: str
    graph: int
    inputs: Mapping[str, int]
    outputs: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Network:
    """A network of any format, for display.

    Attributes:
        path: the file or folder.
        bytes: its size.
        format: the reader's name ("keras", "onnx").
        producer: what wrote the file, empty where it does not say.
        form: "as stored", "as read" or "canonical".
        graphs: the main one first, then branches and bodies.
        signatures: where the format has them.
    """

    path: Path
    bytes: int
    format: str
    producer: str
    form: str
    graphs: tuple[Subgraph, ...]
    signatures: tuple[Signature, ...] = ()


Values: TypeAlias = Callable[[int, int], Array | None]
"""Elements of a constant, as they are stored, by the indices of its graph and of itself; None where none can be had."""


@dataclass(frozen=True, slots=True)
class Described:
    """A network and access to its constants, which are read when they are looked at."""

    network: Network
    values: Values
