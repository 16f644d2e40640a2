"""A .tflite file as dataclasses: every index, shape and size is checked here, and nothing is read that is not needed.

Weights are views of the mapped file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from narrowcast.errors import UnsupportedError, at
from narrowcast.model import Array
from narrowcast.readers.tflite.sparse import densify
from narrowcast.schemas.flatbuffer import Bytes, Table, damaged, root
from narrowcast.schemas.tflite import OPTIONS, TFLITE

__all__ = ["File", "Operator", "Quantization", "Signature", "Subgraph", "Tensor", "parse"]

DTYPES: Mapping[str, np.dtype[Any]] = {
    "FLOAT32": np.dtype(np.float32),
    "FLOAT16": np.dtype(np.float16),
    "FLOAT64": np.dtype(np.float64),
    "COMPLEX64": np.dtype(np.complex64),
    "INT8": np.dtype(np.int8),
    "INT16": np.dtype(np.int16),
    "INT32": np.dtype(np.int32),
    "INT64": np.dtype(np.int64),
    "UINT8": np.dtype(np.uint8),
    "UINT16": np.dtype(np.uint16),
    "UINT32": np.dtype(np.uint32),
    "UINT64": np.dtype(np.uint64),
    "BOOL": np.dtype(np.bool_),
    "INT4": np.dtype(np.int8),
    "INT2": np.dtype(np.int8),
    "UINT4": np.dtype(np.uint8),
}
"""What holds the elements of each type; the packed ones have one element in each byte once they are unpacked."""
BITS = {"INT4": 4, "UINT4": 4, "INT2": 2}
"""Of the packed types, which begin with the low bits of each byte."""
PLACEHOLDER = 127
"""In `deprecated_builtin_code`: the real code is in `builtin_code` (schema.fbs, OperatorCode)."""
MOST_AXES = 32
"""Of a tensor."""
ELEMENT_LIMIT = 1 << 31
"""The most elements of a tensor."""


@dataclass(frozen=True, slots=True)
class Quantization:
    """real = (stored - zero_point) * scale, per tensor or for each slice along `axis`.

    Attributes:
        scale: float32 [1] or [slices], finite and above 0.
        zero_point: int64, of the same length.
        axis: of the tensor as it is stored.
    """

    scale: Array
    zero_point: Array
    axis: int = 0


@dataclass(frozen=True)
class Tensor:
    """One row of a tensor table.

    Attributes:
        index: in its subgraph.
        name: as in the file, or "" .
        type: the schema's name of it.
        shape: as the file is stored, 1 where a dimension is open.
        signature: likewise with -1 for an open dimension.
        content: the bytes of a constant; None for what is computed, fed or a variable's.
        quantization: None for plain numbers, and where each run of inputs has a scale.
        blocks: of weights [out, in] of which each run of inputs has a scale: the index of the tensor of scales, and
            how many inputs a run has; None for others.
        variable: whether it keeps its contents from one inference to the next.
        sparsity: the schema's table for a constant that is stored sparse.
    """

    index: int
    name: str
    type: str
    shape: tuple[int, ...]
    signature: tuple[int, ...]
    content: Array | None
    quantization: Quantization | None
    variable: bool
    sparsity: Table | None
    blocks: tuple[int, int] | None = None

    @property
    def dtype(self) -> np.dtype[Any]:
        """What holds its elements.

        Raises:
            UnsupportedError: numpy has no such type.
        """
        if self.type not in DTYPES:
            raise UnsupportedError(f"tensor {self.name!r} is of type {self.type or 'unknown'}, which is not read")
        return DTYPES[self.type]

    @cached_property
    def array(self) -> Array | None:
        """The elements of a constant, dense and one in each place: a view of the file where that is how it has them."""
        if self.content is None:
            return None
        if self.sparsity is not None:
            return densify(self)
        flat = _unpacked(self.content, self.type, math.prod(self.shape)) if self.type in BITS else self.content
        return flat.view(self.dtype.newbyteorder("<")).reshape(self.shape)


@dataclass(frozen=True)
class Operator:
    """One row of an operator list; see `Tensor` for what it works on.

    Attributes:
        index: in its subgraph.
        name: the schema's ("CONV_2D", "CUSTOM").
        custom: of a custom operator: its own name.
        version: of its semantics.
        inputs: indices of tensors, -1 where an optional one is left out.
        outputs: likewise.
        intermediates: of some recurrent operators.
        options: the schema's table; None for an operator without.
        custom_options: uint8, the bytes of a custom operator, usually a flexbuffer; a view of the file.
    """

    index: int
    name: str
    custom: str
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    intermediates: tuple[int, ...]
    options: Table | None
    custom_options: Array

    @property
    def title(self) -> str:
        """What messages call it."""
        return f"custom operator {self.custom}" if self.name == "CUSTOM" else self.name


@dataclass(frozen=True, slots=True)
class Subgraph:
    """One graph of a file; operators stand in the order in which they run."""

    index: int
    name: str
    tensors: tuple[Tensor, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    operators: tuple[Operator, ...]


@dataclass(frozen=True, slots=True)
class Signature:
    """A way to call a subgraph: names for its ports, with the tensors' indices."""

    key: str
    subgraph: int
    inputs: Mapping[str, int]
    outputs: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class File:
    """A whole file.

    Attributes:
        content: its bytes.
        version: of the schema, 3.
        description: what made it says of itself.
        subgraphs: the first is the main one.
        signatures: in the file's order.
        metadata: contents by name.
    """

    content: Bytes
    version: int
    description: str
    subgraphs: tuple[Subgraph, ...]
    signatures: tuple[Signature, ...]
    metadata: Mapping[str, Array]


def parse(content: Bytes) -> File:
    """The tables of a file.

    Raises:
        ModelFileError: it is no .tflite file, or contradicts itself.
        UnsupportedError: it is of another version of the schema.
    """
    model = root(TFLITE, content)
    if model["version"] != 3:
        raise UnsupportedError(f"it is of version {model['version']} of TFLite's schema; version 3 is read")
    buffers = [_buffer(table, content, index) for index, table in enumerate(model["buffers"] or ())]
    codes = [_code(table) for table in model["operator_codes"] or ()]
    subgraphs = tuple(_subgraph(table, index, buffers, codes) for index, table in enumerate(model["subgraphs"] or ()))
    if not subgraphs:
        raise damaged("it holds no subgraph")
    signatures = tuple(_signature(table, subgraphs) for table in model["signature_defs"] or ())
    if len({signature.key for signature in signatures}) != len(signatures):
        raise damaged("two signatures have one key")
    metadata = {}
    for entry in model["metadata"] or ():
        found = _at(buffers, entry["buffer"], f"metadata {entry['name']!r}", "buffer")
        metadata[entry["name"] or ""] = found if found is not None else np.empty(0, np.uint8)
    return File(content, model["version"], model["description"] or "", subgraphs, signatures, metadata)


def _at(rows: Any, index: int, who: str, what: str) -> Any:
    """A row by its index."""
    if not 0 <= index < len(rows):
        raise damaged(f"{who} refers to {what} {index}, and there are {len(rows)}")
    return rows[index]


def _buffer(table: Table, content: Bytes, index: int) -> Array | None:
    """The bytes of a buffer, in the flatbuffer or behind it; None for an empty one."""
    offset, size = table["offset"], table["size"]
    if offset > 1:  # smaller ones are placeholders (schema.fbs, Buffer)
        return _behind(content, offset, size, f"buffer {index}")
    data: Array | None = table["data"]
    return data if data is not None and data.size else None


def _code(table: Table) -> tuple[str, str, int]:
    """An operator's name, its own name where it is a custom one, and its version."""
    old, new = table["deprecated_builtin_code"], table["builtin_code"]
    number = max(old, new)
    enumeration = table.kind.fields["builtin_code"].enumeration
    assert enumeration is not None
    name = enumeration.names.get(number, f"OPERATOR_{number}")  # of a later schema
    return name, table["custom_code"] or "", table["version"]


def _subgraph(table: Table, index: int, buffers: Any, codes: Any) -> Subgraph:
    with at(f"subgraph {index}"):
        tensors = tuple(_tensor(row, place, buffers) for place, row in enumerate(table["tensors"] or ()))
        operators = tuple(
            _operator(row, place, len(tensors), codes, table.content)
            for place, row in enumerate(table["operators"] or ())
        )
        inputs, outputs = _indices(table, "inputs", len(tensors)), _indices(table, "outputs", len(tensors))
        if len(set(inputs)) != len(inputs):
            raise damaged("two of its inputs are one tensor")
        return Subgraph(index, table["name"] or "", tensors, inputs, outputs, operators)


def _indices(table: Table, field: str, count: int, optional: bool = False) -> tuple[int, ...]:
    """The indices of tensors in a field; -1 for one that is left out, where that may be."""
    found = table[field]
    if found is None:
        return ()
    if found.size and (found.max() >= count or found.min() < (-1 if optional else 0)):
        raise damaged(f"its {field} refer to tensors beyond the {count} that there are")
    return tuple(found.tolist())


def _tensor(table: Table, index: int, buffers: Any) -> Tensor:
    name = table["name"] or ""
    with at(f"tensor {index} {name!r}"):
        type_ = table.name_of("type")
        shape = _shape(table["shape"])
        signature = table["shape_signature"]
        open_shape = shape if signature is None or not signature.size else tuple(signature[: MOST_AXES + 1].tolist())
        if len(open_shape) != len(shape) or any(
            dim not in (size, -1) for dim, size in zip(open_shape, shape, strict=True)
        ):
            raise damaged(f"its shape {list(shape)} contradicts its signature {list(open_shape)}")
        if table["external_buffer"]:
            raise UnsupportedError("its elements lie in another file", hint="pack them into the .tflite file")
        variable = table["is_variable"]
        content = _at(buffers, table["buffer"], "it", "buffer") if table["buffer"] else None
        sparsity = table["sparsity"]
        if content is not None and sparsity is None and type_ in DTYPES:
            bits = BITS.get(type_, 8 * DTYPES[type_].itemsize)
            wanted = (math.prod(shape) * bits + 7) // 8
            if content.size != wanted:
                raise damaged(f"its shape {list(shape)} of {type_} takes {wanted} bytes, and it has {content.size}")
        if content is not None and type_ == "STRING":
            _check_strings(content)
        blocks = _blocks(table["quantization"], shape, type_)
        quantization = None if blocks else _quantization(table["quantization"], shape, type_)
        return Tensor(index, name, type_, shape, open_shape, content, quantization, variable, sparsity, blocks)


def _check_strings(content: Array) -> None:
    """Strings: their number, where each begins, where the last one ends (int32), and their bytes."""
    words = content[: content.size // 4 * 4].view("<i4")
    ends = words[1 : int(words[0]) + 2] if words.size and 0 <= words[0] < words.size - 1 else words[:0]
    if not ends.size or ends[0] != 4 * (ends.size + 1) or (np.diff(ends) < 0).any() or ends[-1] > content.size:
        raise damaged("its strings lie outside of its buffer")


def _shape(found: Array | None) -> tuple[int, ...]:
    if found is not None and found.size > MOST_AXES:
        raise damaged(f"it has {found.size} axes")
    shape = () if found is None else tuple(found.tolist())
    if any(dim < 0 for dim in shape) or math.prod(shape) > ELEMENT_LIMIT:
        raise damaged(f"it has the shape {list(shape)}")
    return shape


def _blocks(table: Table | None, shape: tuple[int, ...], type_: str) -> tuple[int, int] | None:
    """Where the scales of blocks lie, and how long these are."""
    if table is None or table.name_of("details_type") != "BlockwiseQuantization" or table["details"] is None:
        return None
    details = table["details"]
    scales, zero_points, size = (int(details[field]) for field in ("scales", "zero_points", "block_size"))
    if zero_points != -1 or type_ not in ("INT4", "INT2") or len(shape) != 2:
        raise UnsupportedError("it is stored in blocks of another kind than weights of a dense layer have")
    if size < 1 or shape[1] % size:
        raise damaged(f"its blocks of {size} do not divide its shape {list(shape)}")
    return scales, size


def _quantization(table: Table | None, shape: tuple[int, ...], type_: str) -> Quantization | None:
    """Scales and zero points; None where there are none, as of a tensor that only notes its range."""
    if table is None or (scale := table["scale"]) is None or not scale.size:
        return None
    if table["details_type"]:
        raise UnsupportedError(f"its quantisation has details ({table.name_of('details_type') or 'unknown'})")
    if type_.startswith("FLOAT"):
        return None
    zero = table["zero_point"]
    zero = np.zeros(scale.size, np.int64) if zero is None or not zero.size else zero.astype(np.int64)
    axis = 0 if len(shape) == 1 else table["quantized_dimension"]  # early converters gave biases their weights' axis
    if zero.size == 1 != scale.size:
        zero = np.repeat(zero, scale.size)
    if zero.size != scale.size:
        raise damaged(f"it has {scale.size} scales and {zero.size} zero points")
    if not np.isfinite(scale).all() or (scale < 0).any():
        raise damaged("a scale is no positive number")
    if scale.size > 1 and (not 0 <= axis < len(shape) or shape[axis] != scale.size):
        raise damaged(f"it has {scale.size} scales along axis {axis} of the shape {list(shape)}")
    info = np.iinfo(DTYPES[type_]) if type_ in DTYPES and DTYPES[type_].kind in "iu" else None
    if info is not None and (zero.min() < info.min or zero.max() > info.max):
        raise damaged(f"a zero point lies outside of {type_}")
    return Quantization(scale.astype(np.float32), zero, axis if scale.size > 1 else 0)


def _operator(table: Table, index: int, tensors: int, codes: Any, content: Bytes) -> Operator:
    with at(f"operator {index}"):
        name, custom, version = _at(codes, table["opcode_index"], "it", "operator code")
        options = table["builtin_options"] if table["builtin_options"] is not None else table["builtin_options_2"]
        if options is not None and options.kind.name != OPTIONS.get(name, options.kind.name):
            raise damaged(f"{name} has {options.kind.name}")
        return Operator(
            index,
            name,
            custom,
            version,
            _indices(table, "inputs", tensors, optional=True),
            _indices(table, "outputs", tensors),
            _indices(table, "intermediates", tensors, optional=True),
            options,
            _custom_options(table, content),
        )


def _custom_options(table: Table, content: Bytes) -> Array:
    """The options of a custom operator, in the flatbuffer or behind it."""
    offset, size = table["large_custom_options_offset"], table["large_custom_options_size"]
    if offset > 1:
        return _behind(content, offset, size, "its options")
    found: Array | None = table["custom_options"]
    return np.empty(0, np.uint8) if found is None else found


def _behind(content: Bytes, offset: int, size: int, what: str) -> Array:
    """Bytes that lie behind the flatbuffer."""
    if offset + size > len(content):
        raise damaged(f"{what} ends at byte {offset + size}, and the file has {len(content)}")
    return np.frombuffer(content, np.uint8, size, offset)


def _signature(table: Table, subgraphs: tuple[Subgraph, ...]) -> Signature:
    key = table["signature_key"] or ""
    with at(f"signature {key!r}"):
        index = table["subgraph_index"]
        graph = _at(subgraphs, index, "it", "subgraph")
        inputs, outputs = (
            _named(table, field, ports) for field, ports in (("inputs", graph.inputs), ("outputs", graph.outputs))
        )
        return Signature(key, index, inputs, outputs)


def _named(table: Table, field: str, ports: tuple[int, ...]) -> dict[str, int]:
    """The ports of a signature, which are the graph's."""
    entries = table[field] or ()
    named = {entry["name"] or "": entry["tensor_index"] for entry in entries}
    if len(named) != len(entries) or not set(named.values()) <= set(ports):
        raise damaged(f"its {field} are not those of its graph")
    return named


def _unpacked(content: Array, type_: str, count: int) -> Array:
    """One element a byte of what holds several; the first is in the low bits."""
    bits = BITS[type_]
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    parts = ((content[:, None] >> shifts) & ((1 << bits) - 1)).reshape(-1)[:count]
    if type_.startswith("U"):
        return parts
    shifted: Array = ((parts << (8 - bits)).view(np.int8)) >> (8 - bits)
    return shifted
